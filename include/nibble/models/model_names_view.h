#pragma once

#include <nibble/io/checkpoint.h>

#include <memory>

namespace nibble::models {

/// `checkpoint` under the full Hugging Face names, whatever prefix its tensors have, and with a tied
/// embedding also where only the head is stored. For what reads parameters by their name.
std::unique_ptr<io::Checkpoint> with_model_names(std::unique_ptr<io::Checkpoint> checkpoint);

}  // namespace nibble::models
