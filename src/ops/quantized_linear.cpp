#include <nibble/core/error.h>
#include <nibble/ops/fake_quant.h>

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/linear.h>
#include <torch/library.h>

#include "fake_quant_calls.h"
#include "launch.h"

namespace nibble::ops {
namespace {

using at::Tensor;
using OptionalTensor = std::optional<Tensor>;

/// Differentiable in `x` and `bias`.
Tensor dequantize_and_multiply(const Tensor& x, const Tensor& packed, const Tensor& scales,
                               const OptionalTensor& zeros, const OptionalTensor& bias,
                               bool symmetric) {
  NIBBLE_CHECK(x.dim() >= 1, "a quantized Linear takes inputs [..., in_features], got a scalar");
  return at::linear(
      x, dequantize_packed_weight(packed, scales, zeros, x.size(-1), symmetric, x.scalar_type()),
      bias);
}

Tensor quantized_linear_cuda(const Tensor& x, const Tensor& packed, const Tensor& scales,
                             const OptionalTensor& zeros, const OptionalTensor& bias,
                             bool symmetric) {
  NIBBLE_CHECK(x.dim() >= 1, "a quantized Linear takes inputs [..., in_features], got a scalar");
  const int64_t in = x.size(-1), out = packed.size(0);
  check_packed(packed, in);
  const WeightQuantization how = check_parameters({out, in}, scales, zeros, symmetric);
  const Tensor input = x.contiguous(), codes = packed.contiguous(), scale = scales.contiguous();
  const Tensor zero = symmetric ? Tensor() : zeros->contiguous();
  kernels::QuantizedLinearParams params;
  params.weight = weight_matrix({out, in}, x.scalar_type(), how);
  params.packed_codes = codes.const_data_ptr<uint8_t>();
  params.scales = scale.const_data_ptr();
  params.zeros = symmetric ? nullptr : zero.const_data_ptr();
  params.tokens = in == 0 ? 0 : x.numel() / in;
  params.input = input.const_data_ptr();
  if (!kernels::can_run_quantized_linear(params)) {
    return dequantize_and_multiply(x, packed, scales, zeros, bias, symmetric);
  }
  std::vector<int64_t> sizes = x.sizes().vec();
  sizes.back() = out;
  Tensor output = at::empty(sizes, x.options());
  params.output = output.mutable_data_ptr();
  launch_cuda(params, x.device());
  if (bias.has_value() && bias->defined()) output.add_(*bias);
  return output;
}

Tensor quantized_linear_autograd(const Tensor& x, const Tensor& packed, const Tensor& scales,
                                 const OptionalTensor& zeros, const OptionalTensor& bias,
                                 bool symmetric) {
  const bool trains = x.requires_grad() || (bias.has_value() && bias->requires_grad());
  if (at::GradMode::is_enabled() && trains) {
    return dequantize_and_multiply(x, packed, scales, zeros, bias, symmetric);
  }
  at::AutoDispatchBelowADInplaceOrView below_autograd;
  return quantized_linear(x, packed, scales, zeros, bias, symmetric);
}

}  // namespace

Tensor quantized_linear(const Tensor& x, const Tensor& packed, const Tensor& scales,
                        const OptionalTensor& zeros, const OptionalTensor& bias, bool symmetric) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("nibble::quantized_linear", "")
                             .typed<Tensor(const Tensor&, const Tensor&, const Tensor&,
                                           const OptionalTensor&, const OptionalTensor&, bool)>();
  return op.call(x, packed, scales, zeros, bias, symmetric);
}

TORCH_LIBRARY_IMPL(nibble, CPU, library) {
  library.impl("quantized_linear", dequantize_and_multiply);
}
TORCH_LIBRARY_IMPL(nibble, CUDA, library) {
  library.impl("quantized_linear", quantized_linear_cuda);
}
TORCH_LIBRARY_IMPL(nibble, Meta, library) {
  library.impl("quantized_linear", dequantize_and_multiply);
}
TORCH_LIBRARY_IMPL(nibble, Autograd, library) {
  library.impl("quantized_linear", quantized_linear_autograd);
}

}  // namespace nibble::ops
