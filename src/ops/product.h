#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>

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

}  // namespace nibble::ops
