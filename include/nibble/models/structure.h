#pragma once

#include <nibble/io/checkpoint.h>
#include <nibble/models/causal_lm.h>

#include <memory>

namespace nibble::models {

/// The model that load_model() would give, without its weights (on the meta device); the
/// checkpoint's tensor names are checked as there.
std::shared_ptr<CausalLMImpl> load_structure(const io::Checkpoint& checkpoint);

}  // namespace nibble::models
