#include <nibble/core/error.h>
#include <nibble/ops/fake_quant.h>

#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include "fake_quant_calls.h"
#include "find_operator.h"

namespace nibble::ops {
namespace {

using at::Tensor;
using OptionalDtype = std::optional<at::ScalarType>;

// The operators below autograd.

Tensor fake_quantize_weight_forward(const Tensor& weight, int64_t group_size, bool symmetric,
                                    at::ScalarType scale_dtype, OptionalDtype value_dtype) {
  return quantize_weight_as(weight, {group_size, symmetric, scale_dtype},
                            value_dtype.value_or(weight.scalar_type()), {.values = true})
      .values;
}

Tensor fake_quantize_activation_forward(const Tensor& x, OptionalDtype value_dtype) {
  return quantize_activation_as(x, value_dtype.value_or(x.scalar_type()), {.values = true}).values;
}

std::tuple<Tensor, Tensor, Tensor> quantize_weight_forward(const Tensor& weight, int64_t group_size,
                                                           bool symmetric,
                                                           at::ScalarType scale_dtype) {
  Quantized result = quantize_weight_as(weight, {group_size, symmetric, scale_dtype},
                                        weight.scalar_type(), {.codes = true, .zeros = true});
  return {result.codes, result.scales, result.zeros};
}

std::tuple<Tensor, Tensor, Tensor> quantize_activation_forward(const Tensor& x) {
  Quantized result = quantize_activation_as(x, x.scalar_type(), {.codes = true, .zeros = true});
  return {result.codes, result.scales, result.zeros};
}

Tensor dequantize_weight_forward(const Tensor& codes, const Tensor& scales,
                                 const std::optional<Tensor>& zeros, bool symmetric,
                                 at::ScalarType dtype) {
  NIBBLE_CHECK(codes.dim() == 2 && codes.scalar_type() == at::kChar,
               "codes must be int8 [out_features, in_features], got rank ", codes.dim(), " ",
               c10::toString(codes.scalar_type()));
  const WeightQuantization how = check_parameters(codes.sizes(), scales, zeros, symmetric);
  return dequantize_codes({.codes = codes, .scales = scales, .zeros = zeros.value_or(Tensor())},
                          how, dtype, dtype);
}

// Autograd.

struct FakeQuantizeWeight : torch::autograd::Function<FakeQuantizeWeight> {
  static Tensor forward(torch::autograd::AutogradContext* ctx, const Tensor& weight,
                        int64_t group_size, bool symmetric, at::ScalarType scale_dtype,
                        OptionalDtype value_dtype) {
    at::AutoDispatchBelowADInplaceOrView below_autograd;
    Quantized result = quantize_weight_as(weight, {group_size, symmetric, scale_dtype},
                                          value_dtype.value_or(weight.scalar_type()),
                                          {.values = true, .in_range = true});
    ctx->save_for_backward({result.scales, result.in_range});
    ctx->saved_data["dtype"] = weight.scalar_type();
    ctx->saved_data["group_size"] = group_size;
    ctx->saved_data["symmetric"] = symmetric;
    return result.values;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 torch::autograd::variable_list grads) {
    refuse_double_backward();
    const auto saved = ctx->get_saved_variables();
    const at::ScalarType dtype = ctx->saved_data["dtype"].toScalarType();
    const WeightQuantization how{ctx->saved_data["group_size"].toInt(),
                                 ctx->saved_data["symmetric"].toBool(), saved[0].scalar_type()};
    return {
        straight_through(grads[0], weight_matrix(grads[0].sizes(), dtype, how), saved[0], saved[1]),
        Tensor(), Tensor(), Tensor(), Tensor()};
  }
};

struct FakeQuantizeActivation : torch::autograd::Function<FakeQuantizeActivation> {
  static Tensor forward(torch::autograd::AutogradContext* ctx, const Tensor& x,
                        OptionalDtype value_dtype) {
    at::AutoDispatchBelowADInplaceOrView below_autograd;
    Quantized result = quantize_activation_as(x, value_dtype.value_or(x.scalar_type()),
                                              {.values = true, .in_range = true});
    ctx->save_for_backward({result.scales, result.in_range});
    ctx->saved_data["dtype"] = x.scalar_type();
    return result.values;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 torch::autograd::variable_list grads) {
    refuse_double_backward();
    const auto saved = ctx->get_saved_variables();
    const at::ScalarType dtype = ctx->saved_data["dtype"].toScalarType();
    return {straight_through(grads[0], activation_matrix(grads[0], dtype), saved[0], saved[1]),
            Tensor()};
  }
};

bool records_gradient(const Tensor& tensor) {
  return at::GradMode::is_enabled() && tensor.requires_grad();
}

Tensor fake_quantize_weight_autograd(const Tensor& weight, int64_t group_size, bool symmetric,
                                     at::ScalarType scale_dtype, OptionalDtype value_dtype) {
  if (records_gradient(weight)) {
    return FakeQuantizeWeight::apply(weight, group_size, symmetric, scale_dtype, value_dtype);
  }
  at::AutoDispatchBelowADInplaceOrView below_autograd;
  return fake_quantize_weight(weight, group_size, symmetric, scale_dtype, value_dtype);
}

Tensor fake_quantize_activation_autograd(const Tensor& x, OptionalDtype value_dtype) {
  if (records_gradient(x)) return FakeQuantizeActivation::apply(x, value_dtype);
  at::AutoDispatchBelowADInplaceOrView below_autograd;
  return fake_quantize_activation(x, value_dtype);
}

}  // namespace

Tensor fake_quantize_weight(const Tensor& weight, int64_t group_size, bool symmetric,
                            at::ScalarType scale_dtype, OptionalDtype value_dtype) {
  static const auto op =
      find_operator<Tensor(const Tensor&, int64_t, bool, at::ScalarType, OptionalDtype)>(
          "nibble::fake_quantize_weight");
  return op.call(weight, group_size, symmetric, scale_dtype, value_dtype);
}

Tensor fake_quantize_activation(const Tensor& x, OptionalDtype value_dtype) {
  static const auto op =
      find_operator<Tensor(const Tensor&, OptionalDtype)>("nibble::fake_quantize_activation");
  return op.call(x, value_dtype);
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
      "fake_quantize_weight(Tensor weight, int group_size, bool symmetric, ScalarType scale_dtype, "
      "ScalarType? value_dtype=None) -> Tensor");
  library.def("fake_quantize_activation(Tensor x, ScalarType? value_dtype=None) -> Tensor");
  library.def(
      "fake_quantized_linear(Tensor x, Tensor weight, Tensor? bias, int group_size, bool "
      "symmetric, "
      "ScalarType scale_dtype) -> Tensor");
  library.def(
      "quantize_weight(Tensor weight, int group_size, bool symmetric, ScalarType scale_dtype) -> "
      "(Tensor codes, Tensor scales, Tensor zeros)");
  library.def("quantize_activation(Tensor x) -> (Tensor codes, Tensor scales, Tensor zeros)");
  library.def(
      "dequantize_weight(Tensor codes, Tensor scales, Tensor? zeros, bool symmetric, ScalarType "
      "dtype) -> Tensor");
  library.def(
      "dequantize_packed_weight(Tensor packed, Tensor scales, Tensor? zeros, int cols, bool "
      "symmetric, ScalarType dtype) -> Tensor");
  library.def(
      "quantized_linear(Tensor x, Tensor packed, Tensor scales, Tensor? zeros, Tensor? bias, bool "
      "symmetric) -> Tensor");
  library.def(
      "int8_linear(Tensor x_codes, Tensor x_scales, Tensor x_zeros, Tensor packed, Tensor scales, "
      "Tensor? bias, ScalarType dtype) -> Tensor");
  library.def(
      "int8_dynamic_quantized_linear(Tensor x, Tensor packed, Tensor scales, Tensor? bias) -> "
      "Tensor");
  library.def("int8_weight_linear(Tensor x, Tensor codes, Tensor scales, Tensor? bias) -> Tensor");
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
