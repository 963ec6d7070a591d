#pragma once

#include <nibble/models/decoder.h>
#include <nibble/models/kv_cache.h>
#include <nibble/ops/decode.h>

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace nibble::models {

/// Rotation tables of an attention kind, [capacity, rotary_dim].
struct DecodeRotation {
  at::Tensor cos, sin;
};
/// Of each attention kind, for all positions of a cache of `capacity` tokens.
std::vector<DecodeRotation> decode_rotations(const DecoderLMImpl& model, int64_t capacity);

/// The attention of layer `layer` of a model for one token at `position`, int64 [1], over the first
/// row of `cache`; query, key, value and scratch are left to the caller.
ops::DecodeAttention decode_attention_of(const DecoderLMImpl& model, int64_t layer,
                                         const KVCache& cache,
                                         const std::vector<DecodeRotation>& rotations,
                                         const at::Tensor& position);

}  // namespace nibble::models
