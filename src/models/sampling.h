#pragma once

#include <nibble/models/generation.h>

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

namespace nibble::models {

/// The token that sample_token() chooses, int64 [1] on the device of `logits` [vocab_size], as is
/// the generator. Nothing waits for the device.
at::Tensor sample(const at::Tensor& logits, const GenerationOptions& options,
                  const at::Generator& generator);

}  // namespace nibble::models
