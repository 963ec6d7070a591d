#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/linear.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

/// What the products with quantized weights share.
namespace nibble::ops {

inline bool is_given(const std::optional<at::Tensor>& bias) {
  return bias.has_value() && bias->defined();
}

/// Whether autograd records a product: the kernels have no backward.
inline bool records_gradient(const at::Tensor& x, const std::optional<at::Tensor>& bias) {
  return at::GradMode::is_enabled() &&
         (x.requires_grad() || (is_given(bias) && bias->requires_grad()));
}

/// [..., out_features] for an input [..., in_features].
inline at::Tensor empty_product(const at::Tensor& x, int64_t out_features, at::ScalarType dtype) {
  std::vector<int64_t> sizes = x.sizes().vec();
  sizes.back() = out_features;
  return at::empty(sizes, x.options().dtype(dtype));
}

inline at::Tensor add_bias(at::Tensor output, const std::optional<at::Tensor>& bias) {
  if (is_given(bias)) output.add_(*bias);
  return output;
}

/// x W^T + b with no more than a tile of W in memory: `rows_of(begin, count)` makes rows of W
/// [out_features, in] in the dtype of x.
template <class RowsOf>
at::Tensor multiply_tiles(const at::Tensor& x, int64_t out_features,
                          const std::optional<at::Tensor>& bias, const RowsOf& rows_of) {
  constexpr int64_t kElementsPerTile = int64_t{1} << 20;  // 2 or 4 MB: about a core's cache
  const int64_t tile = std::max<int64_t>(1, kElementsPerTile / std::max<int64_t>(1, x.size(-1)));
  if (out_features <= tile) return at::linear(x, rows_of(0, out_features), bias);
  const at::Tensor output = empty_product(x, out_features, x.scalar_type());
  for (int64_t row = 0; row < out_features; row += tile) {
    const int64_t count = std::min(tile, out_features - row);
    const std::optional<at::Tensor> part =
        is_given(bias) ? std::optional(bias->narrow(0, row, count)) : std::nullopt;
    output.narrow(-1, row, count).copy_(at::linear(x, rows_of(row, count), part));
  }
  return output;
}

}  // namespace nibble::ops
