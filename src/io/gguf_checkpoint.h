#pragma once

#include <nibble/io/checkpoint.h>

namespace nibble::io {

/// Opens a GGUF file of the llama architecture as a Hugging Face checkpoint.
std::unique_ptr<Checkpoint> open_gguf_checkpoint(const std::filesystem::path& path);

}  // namespace nibble::io
