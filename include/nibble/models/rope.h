#pragma once

#include <nibble/models/config.h>

#include <ATen/core/Tensor.h>

namespace nibble::models {

/// Cosines and sines of the rotation of each position, computed in float32.
struct RotaryTables {
  at::Tensor cos;  ///< [B or 1, T, 1, rotary_dim]
  at::Tensor sin;
};

/// Rotary position embedding. Source: transformers, modeling_rope_utils.py.
class RotaryEmbedding {
 public:
  explicit RotaryEmbedding(const RopeOptions& options);

  /// `position_ids` [B or 1, T] int64; the tables have `dtype` and the positions' device. LongRoPE
  /// takes the long factors for all of them when one is beyond the original context.
  RotaryTables tables(const at::Tensor& position_ids, at::ScalarType dtype) const;

 private:
  RopeOptions options_;
  // No buffers of a module: they stay float32 whatever dtype the model gets.
  at::Tensor frequencies_;       // [rotary_dim / 2]
  at::Tensor long_frequencies_;  // LongRoPE only
};

/// Rotates the first rotary_dim elements of each head of `x` [B, T, heads, head_dim]; element i is
/// paired with i + rotary_dim / 2 ("rotate half").
at::Tensor apply_rotary(const at::Tensor& x, const RotaryTables& tables);

/// Which rotation the keys of a text of `tokens` have, a number to compare: LongRoPE has another
/// one, of all its tokens, once a text outgrows the original context. 0 for models without.
int64_t rotation_of(const ModelConfig& config, int64_t tokens);

}  // namespace nibble::models
