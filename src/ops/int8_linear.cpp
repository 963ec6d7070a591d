#include <nibble/core/error.h>
#include <nibble/ops/fake_quant.h>

#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <utility>

#include "fake_quant_calls.h"
#include "find_operator.h"
#include "launch.h"
#include "product.h"

namespace nibble::ops {
namespace {

using at::Tensor;
using OptionalTensor = std::optional<Tensor>;

void check_activation(const Tensor& codes, const Tensor& scales, const Tensor& zeros) {
  NIBBLE_CHECK(codes.dim() >= 1 && codes.scalar_type() == at::kChar,
               "x_codes must be int8 [..., in_features], got ", c10::toString(codes.scalar_type()),
               " ", codes.sizes());
  const at::IntArrayRef tokens = codes.sizes().slice(0, codes.dim() - 1);
  for (const Tensor* parameter : {&scales, &zeros}) {
    NIBBLE_CHECK(parameter->sizes() == tokens && parameter->scalar_type() == at::kFloat,
                 "x_scales and x_zeros must be Float ", tokens, ", got ",
                 c10::toString(parameter->scalar_type()), " ", parameter->sizes());
  }
}

/// fq(x) from its codes: the bits of fake_quantize_activation.
Tensor dequantize_activation(const Tensor& codes, const Tensor& scales, const Tensor& zeros,
                             at::ScalarType dtype) {
  const Tensor steps = codes.to(dtype).sub(zeros.to(dtype).unsqueeze(-1));
  return steps.to(at::kFloat).mul(scales.unsqueeze(-1)).to(dtype);
}

Tensor through_values(const Tensor& x_codes, const Tensor& x_scales, const Tensor& x_zeros,
                      const Tensor& packed, const Tensor& scales, const OptionalTensor& bias,
                      at::ScalarType dtype) {
  check_activation(x_codes, x_scales, x_zeros);
  return quantized_linear(dequantize_activation(x_codes, x_scales, x_zeros, dtype), packed, scales,
                          std::nullopt, bias, /*symmetric=*/true);
}

Tensor arranged_on_cpu(const Tensor& codes) {
  const Tensor source = codes.contiguous();
  Tensor arranged = at::empty(source.sizes(), source.options().dtype(at::kByte));
  const int64_t cols = source.size(-1);
  if (cols == 0) return arranged;
  launch_cpu(kernels::Int8ActivationParams{source.const_data_ptr<int8_t>(), cols,
                                           arranged.mutable_data_ptr<uint8_t>()},
             source.numel() / cols);
  return arranged;
}

Tensor int8_linear_cpu(const Tensor& x_codes, const Tensor& x_scales, const Tensor& x_zeros,
                       const Tensor& packed, const Tensor& scales, const OptionalTensor& bias,
                       at::ScalarType dtype) {
  check_activation(x_codes, x_scales, x_zeros);
  const int64_t in = x_codes.size(-1), out = packed.size(0);
  check_packed(packed, in);
  kernels::Int8LinearParams params;
  params.weight =
      weight_matrix({out, in}, dtype, check_parameters({out, in}, scales, std::nullopt, true));
  if (!kernels::can_run_int8_linear(params.weight)) {
    return through_values(x_codes, x_scales, x_zeros, packed, scales, bias, dtype);
  }
  const Tensor arranged = arranged_on_cpu(x_codes), codes = packed.contiguous(),
               scale = scales.contiguous(), x_scale = x_scales.contiguous(),
               x_zero = x_zeros.contiguous();
  Tensor output = empty_product(x_codes, out, dtype);
  params.packed_codes = codes.const_data_ptr<uint8_t>();
  params.scales = scale.const_data_ptr();
  params.tokens = x_scale.numel();
  params.arranged = arranged.const_data_ptr<uint8_t>();
  params.activation_scales = x_scale.const_data_ptr<float>();
  params.activation_zeros = x_zero.const_data_ptr<float>();
  params.output = output.mutable_data_ptr();
  launch_cpu(params);
  return add_bias(std::move(output), bias);
}

Tensor fake_quantize_and_multiply(const Tensor& x, const Tensor& packed, const Tensor& scales,
                                  const OptionalTensor& bias) {
  return quantized_linear(fake_quantize_activation(x), packed, scales, std::nullopt, bias,
                          /*symmetric=*/true);
}

Tensor quantize_and_multiply(const Tensor& x, const Tensor& packed, const Tensor& scales,
                             const OptionalTensor& bias) {
  const auto [codes, x_scales, x_zeros] = quantize_activation(x);
  return int8_linear(codes, x_scales, x_zeros, packed, scales, bias, x.scalar_type());
}

Tensor int8_dynamic_quantized_linear_autograd(const Tensor& x, const Tensor& packed,
                                              const Tensor& scales, const OptionalTensor& bias) {
  if (records_gradient(x, bias)) return fake_quantize_and_multiply(x, packed, scales, bias);
  at::AutoDispatchBelowADInplaceOrView below_autograd;
  return int8_dynamic_quantized_linear(x, packed, scales, bias);
}

}  // namespace

Tensor int8_linear(const Tensor& x_codes, const Tensor& x_scales, const Tensor& x_zeros,
                   const Tensor& packed, const Tensor& scales, const OptionalTensor& bias,
                   at::ScalarType dtype) {
  static const auto op =
      find_operator<Tensor(const Tensor&, const Tensor&, const Tensor&, const Tensor&,
                           const Tensor&, const OptionalTensor&, at::ScalarType)>(
          "nibble::int8_linear");
  return op.call(x_codes, x_scales, x_zeros, packed, scales, bias, dtype);
}

Tensor int8_dynamic_quantized_linear(const Tensor& x, const Tensor& packed, const Tensor& scales,
                                     const OptionalTensor& bias) {
  static const auto op =
      find_operator<Tensor(const Tensor&, const Tensor&, const Tensor&, const OptionalTensor&)>(
          "nibble::int8_dynamic_quantized_linear");
  return op.call(x, packed, scales, bias);
}

TORCH_LIBRARY_IMPL(nibble, CPU, library) {
  library.impl("int8_linear", int8_linear_cpu);
  library.impl("int8_dynamic_quantized_linear", quantize_and_multiply);
}
TORCH_LIBRARY_IMPL(nibble, CUDA, library) {
  library.impl("int8_linear", through_values);
  library.impl("int8_dynamic_quantized_linear", fake_quantize_and_multiply);
}
TORCH_LIBRARY_IMPL(nibble, Meta, library) {
  library.impl("int8_linear", through_values);
  library.impl("int8_dynamic_quantized_linear", fake_quantize_and_multiply);
}
TORCH_LIBRARY_IMPL(nibble, Autograd, library) {
  library.impl("int8_dynamic_quantized_linear", int8_dynamic_quantized_linear_autograd);
}

}  // namespace nibble::ops
