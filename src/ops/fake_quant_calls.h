#pragma once

#include <nibble/kernels/fake_quant.h>

#include <ATen/core/Tensor.h>
#include <c10/core/ScalarType.h>

#include <cstdint>
#include <optional>

/// The kernels of kernels/fake_quant.h as calls on tensors, below autograd: shapes and dtypes
/// checked, outputs allocated.
namespace nibble::ops {

/// `tensor` itself where it has the dtype: even a conversion that does nothing is a call of the
/// dispatcher, and below autograd none may return its input.
inline at::Tensor cast(const at::Tensor& tensor, at::ScalarType dtype) {
  return tensor.scalar_type() == dtype ? tensor : tensor.to(dtype);
}

/// How a weight is quantized: the arguments that the operators share.
struct WeightQuantization {
  int64_t group_size;
  bool symmetric;
  at::ScalarType scale_dtype;

  bool operator==(const WeightQuantization&) const = default;
};

/// What a forward is asked for.
struct Wanted {
  bool values = false;
  bool codes = false;
  bool packed_codes = false;
  bool zeros = false;
  bool in_range = false;
};

/// What it gave; undefined where nothing was wanted. Scales always come.
struct Quantized {
  at::Tensor values = {};
  at::Tensor codes = {};
  at::Tensor packed_codes = {};
  at::Tensor scales = {};
  at::Tensor zeros = {};
  at::Tensor in_range = {};
};

/// The kernels' name of a dtype. Throws Error, which calls the tensor `what`, for one they lack.
kernels::DType kernel_dtype(at::ScalarType dtype, const char* what);

/// The matrices that the kernels see. Throw Error when shape, group or dtype do not fit.
kernels::GroupedMatrix weight_matrix(at::IntArrayRef shape, at::ScalarType dtype,
                                     const WeightQuantization& how);
kernels::GroupedMatrix activation_matrix(const at::Tensor& x, at::ScalarType dtype);

/// Values are exact in the input's dtype and rounded to `value_dtype`.
Quantized quantize_weight_as(const at::Tensor& weight, const WeightQuantization& how,
                             at::ScalarType value_dtype, Wanted wanted);
Quantized quantize_activation_as(const at::Tensor& x, at::ScalarType value_dtype, Wanted wanted);

/// What stored parameters of a weight [out, in] say. Throws Error when their shapes do not fit.
WeightQuantization check_parameters(at::IntArrayRef shape, const at::Tensor& scales,
                                    const std::optional<at::Tensor>& zeros, bool symmetric);

/// Throws Error unless `packed` is uint8 [rows, packed_row_bytes(cols)].
void check_packed(const at::Tensor& packed, int64_t cols);

/// The value [out, in] of codes, packed or not, exact in `dtype` and rounded to `value_dtype`.
at::Tensor dequantize_codes(const Quantized& quantized, const WeightQuantization& how,
                            at::ScalarType dtype, at::ScalarType value_dtype);

/// The straight-through gradient in the dtype of `matrix`, from the forward's scales and bits.
/// `grad_output` has that dtype, or bfloat16 under a float32 matrix (any other is converted). One
/// of that dtype, contiguous, is overwritten if `may_overwrite`.
at::Tensor straight_through(const at::Tensor& grad_output, const kernels::GroupedMatrix& matrix,
                            const at::Tensor& scales, const at::Tensor& in_range,
                            bool may_overwrite = false);

/// Throws Error under create_graph.
void refuse_double_backward();

}  // namespace nibble::ops
