#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/ScalarType.h>

#include <cstdint>
#include <optional>
#include <tuple>

/// Fake quantization as Tensor functions. Each is also an operator of the dispatcher for CPU, CUDA
/// and Meta tensors (torch.ops.nibble.<name> after torch.ops.load_library("libnibble_ops.so")).
/// Formulas, rounding and their source: numerics/grids.h. CPU and CUDA give the same bits.
///
/// Weights are [out, in] and float32, bfloat16 or float16; `group_size` consecutive columns share a
/// scale and must divide `in`. `symmetric` chooses the int4 grid of 8da4w, otherwise tinygemm's
/// affine one, whose `scale_dtype` must be bfloat16. Activations are [..., features] of rank 1 or
/// more and get one scale and zero point a token (all dimensions but the last). Empty tensors give
/// empty results. Bad shapes, groups and dtypes throw nibble::Error.
namespace nibble::ops {

/// fq(W), shape of `weight`: exact in its dtype, then rounded to `value_dtype` if one is given (a
/// product under autocast). Gradient: straight-through, ((g * s) * in_range) * (1 / s) on the
/// symmetric grid and ((g * s) * in_range) / s on the affine one, in the dtype of `weight`; scales
/// count as constants.
at::Tensor fake_quantize_weight(const at::Tensor& weight, int64_t group_size, bool symmetric,
                                at::ScalarType scale_dtype,
                                std::optional<at::ScalarType> value_dtype = std::nullopt);

/// fq(x), shape of `x`: int8, asymmetric, dynamic. `value_dtype` and gradient as above.
at::Tensor fake_quantize_activation(const at::Tensor& x,
                                    std::optional<at::ScalarType> value_dtype = std::nullopt);

/// x fq(W)^T + b as one autograd node: `x` [..., in] (fake-quantized by the caller, or not), `bias`
/// [out], result [..., out]. Runs in matmul_dtype(x); without autocast `x` and `weight` must have
/// one dtype. For backward it keeps what torch::nn::Linear keeps, and for the weight its codes
/// (half a byte each) and in-range bits; within a CacheScope those are shared by all uses of the
/// weight, and its gradient arrives with CacheScope::finalize_gradients().
at::Tensor fake_quantized_linear(const at::Tensor& x, const at::Tensor& weight,
                                 const std::optional<at::Tensor>& bias, int64_t group_size,
                                 bool symmetric, at::ScalarType scale_dtype);

/// The codes and parameters behind fq(W): codes int8 [out, in] (-8..7 symmetric, 0..15 affine),
/// scales and zeros `scale_dtype` [out, in / group_size]. zeros are 0 on the symmetric grid. A NaN
/// gets code 0. Not differentiable.
std::tuple<at::Tensor, at::Tensor, at::Tensor> quantize_weight(const at::Tensor& weight,
                                                               int64_t group_size, bool symmetric,
                                                               at::ScalarType scale_dtype);

/// The value of codes: with the result of quantize_weight it equals fq(W) bit for bit when `dtype`
/// is that weight's. `zeros` is ignored on the symmetric grid. The group size is in /
/// scales.size(1).
at::Tensor dequantize_weight(const at::Tensor& codes, const at::Tensor& scales,
                             const std::optional<at::Tensor>& zeros, bool symmetric,
                             at::ScalarType dtype);

/// The codes and parameters behind fq(x): codes int8 of x's shape, scales and zeros float32 of
/// shape x.shape[:-1] (0-dimensional for a 1-D x). Not differentiable.
std::tuple<at::Tensor, at::Tensor, at::Tensor> quantize_activation(const at::Tensor& x);

/// Two codes a byte (numerics/pack_int4.h): int8 [rows, cols] to uint8 [rows, ceil(cols / 2)].
/// `codes` are -8..7, or 0..15 when `symmetric` is false (stored minus 8).
at::Tensor pack_int4(const at::Tensor& codes, bool symmetric);
/// The value of packed codes, as dequantize_weight(unpack_int4(packed, cols, symmetric), ...).
at::Tensor dequantize_packed_weight(const at::Tensor& packed, const at::Tensor& scales,
                                    const std::optional<at::Tensor>& zeros, int64_t cols,
                                    bool symmetric, at::ScalarType dtype);
/// x W^T + b with W = dequantize_packed_weight(packed, scales, zeros, x.size(-1), symmetric, dtype
/// of x): `x` [..., in], fake-quantized by the caller or not, result [..., out]. Few tokens read
/// the packed weight (kernels/quantized_linear.h, kernels/quantized_linear_cuda.h) unless a
/// gradient is recorded; more of them dequantize it, on the CPU a tile at a time. Differentiable in
/// `x` and `bias`.
at::Tensor quantized_linear(const at::Tensor& x, const at::Tensor& packed, const at::Tensor& scales,
                            const std::optional<at::Tensor>& zeros,
                            const std::optional<at::Tensor>& bias, bool symmetric);
/// The Linear of 8da4w from the result of quantize_activation: x_codes int8 [..., in], `packed` and
/// `scales` of the symmetric grid, result `dtype` [..., out]. On the CPU in integers
/// (kernels/int8_linear.h) where the groups are a multiple of 8 columns; elsewhere the value of the
/// codes goes through quantized_linear. Not differentiable.
at::Tensor int8_linear(const at::Tensor& x_codes, const at::Tensor& x_scales,
                       const at::Tensor& x_zeros, const at::Tensor& packed,
                       const at::Tensor& scales, const std::optional<at::Tensor>& bias,
                       at::ScalarType dtype);
/// The Linear of 8da4w from an activation in full precision: quantize_activation and int8_linear on
/// the CPU; where a gradient is recorded, and on CUDA, fake_quantize_activation and
/// quantized_linear. The two agree to 1e-4 of the result's size in float32. Differentiable in `x`
/// and `bias`.
at::Tensor int8_dynamic_quantized_linear(const at::Tensor& x, const at::Tensor& packed,
                                         const at::Tensor& scales,
                                         const std::optional<at::Tensor>& bias);
/// The inverse of pack_int4: uint8 [rows, ceil(cols / 2)] to int8 [rows, cols].
at::Tensor unpack_int4(const at::Tensor& packed, int64_t cols, bool symmetric);

}  // namespace nibble::ops
