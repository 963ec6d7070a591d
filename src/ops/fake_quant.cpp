#include <nibble/core/error.h>
#include <nibble/numerics/pack_int4.h>
#include <nibble/ops/fake_quant.h>

#include <ATen/Parallel.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <vector>

#include "launch.h"

namespace nibble::ops {
namespace {

using at::Tensor;
using kernels::GridKind;
using kernels::GroupedMatrix;

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

GroupedMatrix weight_matrix(at::IntArrayRef shape, at::ScalarType dtype, int64_t group_size,
                            bool symmetric, at::ScalarType scale_dtype) {
  NIBBLE_CHECK(shape.size() == 2, "weight must be [out_features, in_features], got rank ",
               shape.size());
  NIBBLE_CHECK(group_size > 0 && shape[1] % group_size == 0, "group_size ", group_size,
               " does not divide in_features ", shape[1], "; allowed are its divisors");
  NIBBLE_CHECK(symmetric || scale_dtype == at::kBFloat16,
               "the affine int4 grid keeps scales in BFloat16, got scale_dtype ",
               c10::toString(scale_dtype));
  GroupedMatrix matrix;
  matrix.grid = symmetric ? GridKind::kSymmetricInt4 : GridKind::kAffineInt4;
  matrix.dtype = kernel_dtype(dtype, "weight dtype");
  matrix.scale_dtype = kernel_dtype(scale_dtype, "scale_dtype");
  matrix.rows = shape[0];
  matrix.cols = shape[1];
  matrix.group_size = group_size;
  return matrix;
}

GroupedMatrix activation_matrix(const Tensor& x) {
  NIBBLE_CHECK(x.dim() >= 1, "activations must have at least one dimension, got a scalar");
  NIBBLE_CHECK(x.size(-1) > 0, "activations must have at least one feature, got size(-1) = 0");
  GroupedMatrix matrix;
  matrix.grid = GridKind::kAsymmetricInt8;
  matrix.dtype = kernel_dtype(x.scalar_type(), "activation dtype");
  matrix.scale_dtype = kernels::DType::kFloat32;
  matrix.cols = x.size(-1);
  matrix.rows = x.numel() / matrix.cols;
  matrix.group_size = matrix.cols;
  return matrix;
}

/// What a forward is asked to write.
struct Wanted {
  bool values = false;
  bool codes = false;
  bool in_range = false;
};

struct Quantized {
  Tensor values;
  Tensor codes;
  Tensor scales;
  Tensor zeros;
  Tensor in_range;
};

template <class T = void>
T* data_or_null(const Tensor& tensor) {
  return tensor.defined() && tensor.has_storage() ? static_cast<T*>(tensor.data_ptr()) : nullptr;
}

/// Runs the forward kernel over `input` seen as `matrix`; `scale_shape` is the shape of the scales.
Quantized quantize(const Tensor& input, const GroupedMatrix& matrix, at::IntArrayRef scale_shape,
                   at::ScalarType scale_dtype, Wanted wanted) {
  const bool rows_in_place = input.dim() == 2 && input.stride(1) == 1;
  const Tensor source = rows_in_place ? input : input.contiguous();
  Quantized result;
  result.scales = at::empty(scale_shape, input.options().dtype(scale_dtype));
  if (wanted.values) result.values = at::empty(input.sizes(), input.options());
  if (wanted.codes) {
    result.codes = at::empty(input.sizes(), input.options().dtype(at::kChar));
    result.zeros = at::empty_like(result.scales);
  }
  if (wanted.in_range) {
    result.in_range = at::empty({matrix.rows, kernels::mask_row_bytes(matrix.cols)},
                                input.options().dtype(at::kByte));
  }
  if (!input.is_meta()) {
    kernels::FakeQuantParams params;
    params.matrix = matrix;
    params.input = source.const_data_ptr();
    params.input_row_stride = rows_in_place ? source.stride(0) : matrix.cols;
    params.output_dtype = matrix.dtype;
    params.output = data_or_null(result.values);
    params.scales = data_or_null(result.scales);
    params.zeros = data_or_null(result.zeros);
    params.codes = data_or_null<int8_t>(result.codes);
    params.in_range = data_or_null<uint8_t>(result.in_range);
    launch(params, input.device());
  }
  return result;
}

Quantized quantize_weight_as(const Tensor& weight, int64_t group_size, bool symmetric,
                             at::ScalarType scale_dtype, Wanted wanted) {
  const GroupedMatrix matrix =
      weight_matrix(weight.sizes(), weight.scalar_type(), group_size, symmetric, scale_dtype);
  return quantize(weight, matrix, {matrix.rows, matrix.cols / group_size}, scale_dtype, wanted);
}

Quantized quantize_activation_as(const Tensor& x, Wanted wanted) {
  const GroupedMatrix matrix = activation_matrix(x);  // checks the rank
  return quantize(x, matrix, x.sizes().slice(0, x.dim() - 1), at::kFloat, wanted);
}

Tensor straight_through(const Tensor& grad_output, const GroupedMatrix& matrix,
                        const Tensor& scales, const Tensor& in_range) {
  const Tensor gradient = grad_output.contiguous();
  Tensor grad_input = at::empty_like(gradient);
  if (!gradient.is_meta()) {
    kernels::FakeQuantBackwardParams params;
    params.matrix = matrix;
    params.grad_output = gradient.const_data_ptr();
    params.scales = scales.const_data_ptr();
    params.in_range = in_range.const_data_ptr<uint8_t>();
    params.grad_input = grad_input.mutable_data_ptr();
    launch(params, gradient.device());
  }
  return grad_input;
}

void refuse_double_backward() {
  NIBBLE_CHECK(!at::GradMode::is_enabled(),
               "fake quantization is piecewise constant: its straight-through gradient cannot be "
               "differentiated again (create_graph)");
}

// The operators below autograd.

Tensor fake_quantize_weight_forward(const Tensor& weight, int64_t group_size, bool symmetric,
                                    at::ScalarType scale_dtype) {
  return quantize_weight_as(weight, group_size, symmetric, scale_dtype, {.values = true}).values;
}

Tensor fake_quantize_activation_forward(const Tensor& x) {
  return quantize_activation_as(x, {.values = true}).values;
}

std::tuple<Tensor, Tensor, Tensor> quantize_weight_forward(const Tensor& weight, int64_t group_size,
                                                           bool symmetric,
                                                           at::ScalarType scale_dtype) {
  Quantized result =
      quantize_weight_as(weight, group_size, symmetric, scale_dtype, {.codes = true});
  return {result.codes, result.scales, result.zeros};
}

std::tuple<Tensor, Tensor, Tensor> quantize_activation_forward(const Tensor& x) {
  Quantized result = quantize_activation_as(x, {.codes = true});
  return {result.codes, result.scales, result.zeros};
}

Tensor dequantize_weight_forward(const Tensor& codes, const Tensor& scales,
                                 const std::optional<Tensor>& zeros, bool symmetric,
                                 at::ScalarType dtype) {
  NIBBLE_CHECK(codes.dim() == 2 && codes.scalar_type() == at::kChar,
               "codes must be int8 [out_features, in_features], got rank ", codes.dim(), " ",
               c10::toString(codes.scalar_type()));
  NIBBLE_CHECK(scales.dim() == 2 && scales.size(0) == codes.size(0) && scales.size(1) > 0 &&
                   codes.size(1) % scales.size(1) == 0,
               "scales must be [out_features, groups] with groups dividing in_features, got ",
               scales.sizes(), " for codes ", codes.sizes());
  NIBBLE_CHECK(symmetric || (zeros.has_value() && zeros->sizes() == scales.sizes() &&
                             zeros->scalar_type() == scales.scalar_type()),
               "the affine int4 grid needs zeros with the shape and dtype of scales");
  const int64_t group_size = std::max<int64_t>(1, codes.size(1) / scales.size(1));
  Tensor output = at::empty(codes.sizes(), codes.options().dtype(dtype));
  kernels::DequantizeParams params;
  params.matrix = weight_matrix(codes.sizes(), dtype, group_size, symmetric, scales.scalar_type());
  if (!codes.is_meta()) {
    const Tensor contiguous_codes = codes.contiguous();
    const Tensor contiguous_scales = scales.contiguous();
    const Tensor contiguous_zeros = symmetric ? Tensor() : zeros->contiguous();
    params.codes = contiguous_codes.const_data_ptr<int8_t>();
    params.scales = contiguous_scales.const_data_ptr();
    params.zeros = symmetric ? nullptr : contiguous_zeros.const_data_ptr();
    params.output = output.mutable_data_ptr();
    launch(params, codes.device());
  }
  return output;
}

// Autograd.

struct FakeQuantizeWeight : torch::autograd::Function<FakeQuantizeWeight> {
  static Tensor forward(torch::autograd::AutogradContext* ctx, const Tensor& weight,
                        int64_t group_size, bool symmetric, at::ScalarType scale_dtype) {
    at::AutoDispatchBelowADInplaceOrView below_autograd;
    Quantized result = quantize_weight_as(weight, group_size, symmetric, scale_dtype,
                                          {.values = true, .in_range = true});
    ctx->save_for_backward({result.scales, result.in_range});
    ctx->saved_data["group_size"] = group_size;
    ctx->saved_data["symmetric"] = symmetric;
    return result.values;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 torch::autograd::variable_list grads) {
    refuse_double_backward();
    const auto saved = ctx->get_saved_variables();
    const Tensor& grad = grads[0];
    const GroupedMatrix matrix =
        weight_matrix(grad.sizes(), grad.scalar_type(), ctx->saved_data["group_size"].toInt(),
                      ctx->saved_data["symmetric"].toBool(), saved[0].scalar_type());
    return {straight_through(grad, matrix, saved[0], saved[1]), Tensor(), Tensor(), Tensor()};
  }
};

struct FakeQuantizeActivation : torch::autograd::Function<FakeQuantizeActivation> {
  static Tensor forward(torch::autograd::AutogradContext* ctx, const Tensor& x) {
    at::AutoDispatchBelowADInplaceOrView below_autograd;
    Quantized result = quantize_activation_as(x, {.values = true, .in_range = true});
    ctx->save_for_backward({result.scales, result.in_range});
    return result.values;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 torch::autograd::variable_list grads) {
    refuse_double_backward();
    const auto saved = ctx->get_saved_variables();
    return {straight_through(grads[0], activation_matrix(grads[0]), saved[0], saved[1])};
  }
};

bool records_gradient(const Tensor& tensor) {
  return at::GradMode::is_enabled() && tensor.requires_grad();
}

Tensor fake_quantize_weight_autograd(const Tensor& weight, int64_t group_size, bool symmetric,
                                     at::ScalarType scale_dtype) {
  if (records_gradient(weight)) {
    return FakeQuantizeWeight::apply(weight, group_size, symmetric, scale_dtype);
  }
  at::AutoDispatchBelowADInplaceOrView below_autograd;
  return fake_quantize_weight(weight, group_size, symmetric, scale_dtype);
}

Tensor fake_quantize_activation_autograd(const Tensor& x) {
  if (records_gradient(x)) return FakeQuantizeActivation::apply(x);
  at::AutoDispatchBelowADInplaceOrView below_autograd;
  return fake_quantize_activation(x);
}

template <class Signature>
auto find_operator(const char* name) {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, "").typed<Signature>();
}

}  // namespace

Tensor fake_quantize_weight(const Tensor& weight, int64_t group_size, bool symmetric,
                            at::ScalarType scale_dtype) {
  static const auto op = find_operator<Tensor(const Tensor&, int64_t, bool, at::ScalarType)>(
      "nibble::fake_quantize_weight");
  return op.call(weight, group_size, symmetric, scale_dtype);
}

Tensor fake_quantize_activation(const Tensor& x) {
  static const auto op = find_operator<Tensor(const Tensor&)>("nibble::fake_quantize_activation");
  return op.call(x);
}

std::tuple<Tensor, Tensor, Tensor> quantize_weight(const Tensor& weight, int64_t group_size,
                                                   bool symmetric, at::ScalarType scale_dtype) {
  static const auto op = find_operator<std::tuple<Tensor, Tensor, Tensor>(
      const Tensor&, int64_t, bool, at::ScalarType)>("nibble::quantize_weight");
  return op.call(weight, group_size, symmetric, scale_dtype);
}

Tensor dequantize_weight(const Tensor& codes, const Tensor& scales,
                         const std::optional<Tensor>& zeros, bool symmetric, at::ScalarType dtype) {
  static const auto op =
      find_operator<Tensor(const Tensor&, const Tensor&, const std::optional<Tensor>&, bool,
                           at::ScalarType)>("nibble::dequantize_weight");
  return op.call(codes, scales, zeros, symmetric, dtype);
}

std::tuple<Tensor, Tensor, Tensor> quantize_activation(const Tensor& x) {
  static const auto op = find_operator<std::tuple<Tensor, Tensor, Tensor>(const Tensor&)>(
      "nibble::quantize_activation");
  return op.call(x);
}

TORCH_LIBRARY(nibble, library) {
  library.def(
      "fake_quantize_weight(Tensor weight, int group_size, bool symmetric, ScalarType scale_dtype) "
      "-> Tensor");
  library.def("fake_quantize_activation(Tensor x) -> Tensor");
  library.def(
      "quantize_weight(Tensor weight, int group_size, bool symmetric, ScalarType scale_dtype) -> "
      "(Tensor codes, Tensor scales, Tensor zeros)");
  library.def("quantize_activation(Tensor x) -> (Tensor codes, Tensor scales, Tensor zeros)");
  library.def(
      "dequantize_weight(Tensor codes, Tensor scales, Tensor? zeros, bool symmetric, ScalarType "
      "dtype) -> Tensor");
  library.def("pack_int4(Tensor codes, bool symmetric) -> Tensor");
  library.def("unpack_int4(Tensor packed, int cols, bool symmetric) -> Tensor");
}

namespace {
// One implementation a function: it allocates for every device and launch() picks the kernel.
void register_kernels(torch::Library& library) {
  library.impl("fake_quantize_weight", fake_quantize_weight_forward);
  library.impl("fake_quantize_activation", fake_quantize_activation_forward);
  library.impl("quantize_weight", quantize_weight_forward);
  library.impl("quantize_activation", quantize_activation_forward);
  library.impl("dequantize_weight", dequantize_weight_forward);
}
}  // namespace

TORCH_LIBRARY_IMPL(nibble, CPU, library) { register_kernels(library); }
TORCH_LIBRARY_IMPL(nibble, CUDA, library) { register_kernels(library); }
TORCH_LIBRARY_IMPL(nibble, Meta, library) { register_kernels(library); }
TORCH_LIBRARY_IMPL(nibble, Autograd, library) {
  library.impl("fake_quantize_weight", fake_quantize_weight_autograd);
  library.impl("fake_quantize_activation", fake_quantize_activation_autograd);
}

}  // namespace nibble::ops
