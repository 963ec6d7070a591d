#pragma once

#include <nibble/data/batch.h>
#include <nibble/models/causal_lm.h>

#include <ATen/core/Tensor.h>

namespace nibble::train {

/// Sum over the batch's targets of the cross entropy, a float32 scalar with gradient. Logits are
/// computed at target positions only and upcast to float32.
at::Tensor sum_cross_entropy(models::CausalLMImpl& model, const data::Batch& batch);

}  // namespace nibble::train
