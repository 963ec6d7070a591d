#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/ScalarType.h>

namespace nibble::ops {

/// Whether autocast casts the operands of a matrix product with `x`.
bool is_autocast(const at::Tensor& x);

/// The dtype in which a matrix product with `x` runs: autocast's where it is on for the device of a
/// float32 or 16-bit `x`, as for torch::nn::Linear, else that of `x`.
at::ScalarType matmul_dtype(const at::Tensor& x);

}  // namespace nibble::ops
