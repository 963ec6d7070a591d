#include "fake_quant_calls.h"

#include <nibble/core/error.h>
#include <nibble/numerics/pack_int4.h>

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include <algorithm>

#include "launch.h"

namespace nibble::ops {
namespace {

using at::Tensor;
using kernels::GridKind;
using kernels::GroupedMatrix;

template <class T = void>
T* data_or_null(const Tensor& tensor) {
  return tensor.defined() && tensor.has_storage() ? static_cast<T*>(tensor.data_ptr()) : nullptr;
}

/// Runs the forward kernel over `input` seen as `matrix`; `scale_shape` is the shape of the scales.
Quantized quantize(const Tensor& input, const GroupedMatrix& matrix, at::IntArrayRef scale_shape,
                   at::ScalarType scale_dtype, at::ScalarType value_dtype, Wanted wanted) {
  const bool rows_in_place = input.dim() == 2 && input.stride(1) == 1;
  const Tensor source = rows_in_place ? input : input.contiguous();
  Quantized result;
  result.scales = at::empty(scale_shape, input.options().dtype(scale_dtype));
  if (wanted.values) {
    result.values = at::empty(input.sizes(), input.options().dtype(value_dtype));
  }
  if (wanted.codes) {
    result.codes = at::empty(input.sizes(), input.options().dtype(at::kChar));
  }
  if (wanted.packed_codes) {
    result.packed_codes = at::empty({matrix.rows, numerics::packed_row_bytes(matrix.cols)},
                                    input.options().dtype(at::kByte));
  }
  if (wanted.zeros) result.zeros = at::empty_like(result.scales);
  if (wanted.in_range) {
    result.in_range = at::empty({matrix.rows, kernels::mask_row_bytes(matrix.cols)},
                                input.options().dtype(at::kByte));
  }
  if (!input.is_meta()) {
    kernels::FakeQuantParams params;
    params.matrix = matrix;
    params.input = source.const_data_ptr();
    params.input_row_stride = rows_in_place ? source.stride(0) : matrix.cols;
    params.output_dtype = kernel_dtype(value_dtype, "value dtype");
    params.output = data_or_null(result.values);
    params.scales = data_or_null(result.scales);
    params.zeros = data_or_null(result.zeros);
    params.codes = data_or_null<int8_t>(result.codes);
    params.packed_codes = data_or_null<uint8_t>(result.packed_codes);
    params.in_range = data_or_null<uint8_t>(result.in_range);
    launch(params, input.device());
  }
  return result;
}

at::ScalarType scalar_type(kernels::DType dtype) {
  switch (dtype) {
    case kernels::DType::kFloat32:
      return at::kFloat;
    case kernels::DType::kBFloat16:
      return at::kBFloat16;
    case kernels::DType::kFloat16:
      return at::kHalf;
  }
  fail("no such dtype");
}

}  // namespace

kernels::DType kernel_dtype(at::ScalarType dtype, const char* what) {
  switch (dtype) {
    case at::kFloat:
      return kernels::DType::kFloat32;
    case at::kBFloat16:
      return kernels::DType::kBFloat16;
    case at::kHalf:
      return kernels::DType::kFloat16;
    default:
      fail(what, " is ", c10::toString(dtype), ", allowed: Float, BFloat16, Half");
  }
}

GroupedMatrix weight_matrix(at::IntArrayRef shape, at::ScalarType dtype,
                            const WeightQuantization& how) {
  NIBBLE_CHECK(shape.size() == 2, "weight must be [out_features, in_features], got rank ",
               shape.size());
  NIBBLE_CHECK(how.group_size > 0 && shape[1] % how.group_size == 0, "group_size ", how.group_size,
               " does not divide in_features ", shape[1], "; allowed are its divisors");
  NIBBLE_CHECK(how.symmetric || how.scale_dtype == at::kBFloat16,
               "the affine int4 grid keeps scales in BFloat16, got scale_dtype ",
               c10::toString(how.scale_dtype));
  GroupedMatrix matrix;
  matrix.grid = how.symmetric ? GridKind::kSymmetricInt4 : GridKind::kAffineInt4;
  matrix.dtype = kernel_dtype(dtype, "weight dtype");
  matrix.scale_dtype = kernel_dtype(how.scale_dtype, "scale_dtype");
  matrix.rows = shape[0];
  matrix.cols = shape[1];
  matrix.group_size = how.group_size;
  return matrix;
}

GroupedMatrix activation_matrix(const Tensor& x, at::ScalarType dtype) {
  NIBBLE_CHECK(x.dim() >= 1, "activations must have at least one dimension, got a scalar");
  NIBBLE_CHECK(x.size(-1) > 0, "activations must have at least one feature, got size(-1) = 0");
  GroupedMatrix matrix;
  matrix.grid = GridKind::kAsymmetricInt8;
  matrix.dtype = kernel_dtype(dtype, "activation dtype");
  matrix.scale_dtype = kernels::DType::kFloat32;
  matrix.cols = x.size(-1);
  matrix.rows = x.numel() / matrix.cols;
  matrix.group_size = matrix.cols;
  return matrix;
}

Quantized quantize_weight_as(const Tensor& weight, const WeightQuantization& how,
                             at::ScalarType value_dtype, Wanted wanted) {
  const GroupedMatrix matrix = weight_matrix(weight.sizes(), weight.scalar_type(), how);
  return quantize(weight, matrix, {matrix.rows, matrix.cols / how.group_size}, how.scale_dtype,
                  value_dtype, wanted);
}

Quantized quantize_activation_as(const Tensor& x, at::ScalarType value_dtype, Wanted wanted) {
  const GroupedMatrix matrix = activation_matrix(x, x.scalar_type());  // checks the rank
  return quantize(x, matrix, x.sizes().slice(0, x.dim() - 1), at::kFloat, value_dtype, wanted);
}

WeightQuantization check_parameters(at::IntArrayRef shape, const Tensor& scales,
                                    const std::optional<Tensor>& zeros, bool symmetric) {
  NIBBLE_CHECK(scales.dim() == 2 && scales.size(0) == shape[0] && scales.size(1) > 0 &&
                   shape[1] % scales.size(1) == 0,
               "scales must be [out_features, groups] with groups dividing in_features, got ",
               scales.sizes(), " for codes ", shape);
  NIBBLE_CHECK(symmetric || (zeros.has_value() && zeros->sizes() == scales.sizes() &&
                             zeros->scalar_type() == scales.scalar_type()),
               "the affine int4 grid needs zeros with the shape and dtype of scales");
  return {std::max<int64_t>(1, shape[1] / scales.size(1)), symmetric, scales.scalar_type()};
}

void check_packed(const Tensor& packed, int64_t cols) {
  NIBBLE_CHECK(packed.dim() == 2 && packed.scalar_type() == at::kByte &&
                   packed.size(1) == numerics::packed_row_bytes(cols),
               "packed codes must be uint8 [rows, ", numerics::packed_row_bytes(cols), "] for ",
               cols, " columns, got ", packed.sizes(), " ", c10::toString(packed.scalar_type()));
}

Tensor dequantize_codes(const Quantized& quantized, const WeightQuantization& how,
                        at::ScalarType dtype, at::ScalarType value_dtype) {
  const bool packed = quantized.packed_codes.defined();
  const Tensor codes = (packed ? quantized.packed_codes : quantized.codes).contiguous();
  const int64_t cols = packed ? quantized.scales.size(1) * how.group_size : codes.size(1);
  const bool narrows = dtype == at::kFloat && value_dtype == at::kBFloat16;
  const at::ScalarType output_dtype = narrows ? value_dtype : dtype;
  const Tensor output = at::empty({codes.size(0), cols}, codes.options().dtype(output_dtype));
  const GroupedMatrix matrix = weight_matrix(output.sizes(), dtype, how);
  if (!codes.is_meta()) {
    const Tensor scales = quantized.scales.contiguous();
    const Tensor zeros = how.symmetric ? Tensor() : quantized.zeros.contiguous();
    kernels::DequantizeParams params;
    params.matrix = matrix;
    params.codes = packed ? nullptr : codes.const_data_ptr<int8_t>();
    params.packed_codes = packed ? codes.const_data_ptr<uint8_t>() : nullptr;
    params.scales = scales.const_data_ptr();
    params.zeros = how.symmetric ? nullptr : zeros.const_data_ptr();
    params.output = output.mutable_data_ptr();
    params.output_dtype = kernel_dtype(output_dtype, "value dtype");
    launch(params, codes.device());
  }
  return cast(output, value_dtype);
}

Tensor straight_through(const Tensor& grad_output, const GroupedMatrix& matrix,
                        const Tensor& scales, const Tensor& in_range, bool may_overwrite) {
  const at::ScalarType dtype = scalar_type(matrix.dtype);
  const bool read_as_it_is = dtype == at::kFloat && grad_output.scalar_type() == at::kBFloat16;
  const Tensor gradient = (read_as_it_is ? grad_output : cast(grad_output, dtype)).contiguous();
  const bool overwrites = may_overwrite && gradient.scalar_type() == dtype;
  const Tensor grad_input =
      overwrites ? gradient : at::empty(gradient.sizes(), gradient.options().dtype(dtype));
  if (!gradient.is_meta()) {
    kernels::FakeQuantBackwardParams params;
    params.matrix = matrix;
    params.grad_output = gradient.const_data_ptr();
    params.scales = scales.const_data_ptr();
    params.in_range = in_range.const_data_ptr<uint8_t>();
    params.grad_input = grad_input.mutable_data_ptr();
    params.grad_output_dtype = kernel_dtype(gradient.scalar_type(), "gradient dtype");
    launch(params, gradient.device());
  }
  return grad_input;
}

void refuse_double_backward() {
  NIBBLE_CHECK(!at::GradMode::is_enabled(),
               "fake quantization is piecewise constant: its straight-through gradient cannot be "
               "differentiated again (create_graph)");
}

}  // namespace nibble::ops
