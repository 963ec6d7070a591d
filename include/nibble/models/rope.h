#pragma once

#include <nibble/models/config.h>

#include <ATen/core/Tensor.h>

namespace nibble::models {

/// float32 [head_dim / 2]: radians a position turns each pair by, scaling included. Source:
/// transformers, modeling_rope_utils.py.
at::Tensor rope_inverse_frequencies(const RopeOptions& options, int64_t head_dim);

/// Cosines and sines of the rotation of each position, computed in float32.
struct RotaryTables {
  at::Tensor cos;  ///< [B or 1, T, 1, head_dim]
  at::Tensor sin;
};

/// `position_ids` [B or 1, T] int64; the tables have the options' dtype and the positions' device.
RotaryTables make_rotary_tables(const at::Tensor& inverse_frequencies,
                                const at::Tensor& position_ids, at::ScalarType dtype);

/// Rotates `x` [B, T, heads, head_dim]; element i is paired with i + head_dim / 2 ("rotate half").
at::Tensor apply_rotary(const at::Tensor& x, const RotaryTables& tables);

}  // namespace nibble::models
