#pragma once

#include <nibble/io/checkpoint.h>
#include <nibble/models/causal_lm.h>

#include <memory>

namespace nibble::models {

/// The model that load_model() would give, without its weights (on the meta device); the
/// checkpoint's tensor names are checked as there.
std::shared_ptr<CausalLMImpl> load_structure(const io::Checkpoint& checkpoint);

/// `checkpoint` under the full Hugging Face names, whatever prefix its tensors have, and with a tied
/// embedding also where only the head is stored. For what reads parameters by their name.
std::unique_ptr<io::Checkpoint> with_model_names(std::unique_ptr<io::Checkpoint> checkpoint);

}  // namespace nibble::models
