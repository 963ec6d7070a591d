#pragma once

#include <nibble/io/checkpoint.h>

namespace nibble::io {

/// Opens a Hugging Face directory; `path` is a directory.
std::unique_ptr<Checkpoint> open_hf_checkpoint(const std::filesystem::path& path);

}  // namespace nibble::io
