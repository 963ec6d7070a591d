#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/ScalarType.h>

#include <optional>

/// Weights kept as int8 (an embedding that is the output projection too) as Tensor functions: codes
/// int8 [out, in], scales float32 [out, groups], one for each of `groups` runs of in / groups
/// columns; W = codes * scales.
namespace nibble::ops {

/// x W^T + b: `x` [..., in], `bias` [out], result [..., out] in the dtype of x. Few tokens
/// read the codes (kernels/int8_weight_linear.h, int8_weight_linear_cuda.h) unless a gradient is
/// recorded; for others W is dequantized in the dtype of x, on the CPU a tile at a time.
/// Differentiable in `x` and `bias`. An operator of the dispatcher as those of fake_quant.h are.
/// Throws Error for operands that do not fit.
at::Tensor int8_weight_linear(const at::Tensor& x, const at::Tensor& codes,
                              const at::Tensor& scales, const std::optional<at::Tensor>& bias);

/// Rows `ids` of W, int64 of any shape [...]: [..., in] in `dtype`, each as dequantize_int8_weight
/// gives it. An id that is no row is an Error on the CPU, on CUDA a device-side failure.
at::Tensor int8_embedding(const at::Tensor& codes, const at::Tensor& scales, const at::Tensor& ids,
                          at::ScalarType dtype);

/// W [out, in], the float32 product rounded once to `dtype`. Any rows of codes and scales will do.
at::Tensor dequantize_int8_weight(const at::Tensor& codes, const at::Tensor& scales,
                                  at::ScalarType dtype);

}  // namespace nibble::ops
