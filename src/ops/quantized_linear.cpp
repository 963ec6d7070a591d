#include <nibble/core/error.h>
#include <nibble/ops/fake_quant.h>

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/linear.h>
#include <torch/library.h>

#include "fake_quant_calls.h"
#include "int4_operands.h"
#include "launch.h"
#include "product.h"

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
  Int4Operands product(x, packed, scales, zeros, symmetric);
  if (!kernels::can_run_quantized_linear(product.params)) {
    return dequantize_and_multiply(x, packed, scales, zeros, bias, symmetric);
  }
  Tensor output = product.make_output();
  launch_cuda(product.params, x.device());
  return add_bias(std::move(output), bias);
}

Tensor dequantize_and_multiply_tiles(const Tensor& x, const Tensor& packed, const Tensor& scales,
                                     const OptionalTensor& zeros, const OptionalTensor& bias,
                                     bool symmetric) {
  return multiply_tiles(x, packed.size(0), bias, [&](int64_t row, int64_t count) {
    const auto part = [&](const Tensor& tensor) { return tensor.narrow(0, row, count); };
    return dequantize_packed_weight(part(packed), part(scales),
                                    is_given(zeros) ? OptionalTensor(part(*zeros)) : std::nullopt,
                                    x.size(-1), symmetric, x.scalar_type());
  });
}

Tensor quantized_linear_cpu(const Tensor& x, const Tensor& packed, const Tensor& scales,
                            const OptionalTensor& zeros, const OptionalTensor& bias,
                            bool symmetric) {
  Int4Operands product(x, packed, scales, zeros, symmetric);
  if (product.params.tokens > kernels::kQuantizedLinearFewTokens ||
      !kernels::can_run_quantized_linear_cpu(product.params.weight)) {
    return dequantize_and_multiply_tiles(x, packed, scales, zeros, bias, symmetric);
  }
  Tensor output = product.make_output();
  launch_cpu(product.params);
  return add_bias(std::move(output), bias);
}

Tensor quantized_linear_autograd(const Tensor& x, const Tensor& packed, const Tensor& scales,
                                 const OptionalTensor& zeros, const OptionalTensor& bias,
                                 bool symmetric) {
  if (records_gradient(x, bias)) {
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

TORCH_LIBRARY_IMPL(nibble, CPU, library) { library.impl("quantized_linear", quantized_linear_cpu); }
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
