#include <nibble/core/error.h>
#include <nibble/ops/int8_weight_linear.h>

#include <ATen/ops/embedding.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/linear.h>
#include <torch/library.h>

#include <utility>
#include <vector>

#include "fake_quant_calls.h"
#include "find_operator.h"
#include "launch.h"
#include "product.h"

namespace nibble::ops {
namespace {

using at::Tensor;
using OptionalTensor = std::optional<Tensor>;

void check_weight(const Tensor& codes, const Tensor& scales) {
  NIBBLE_CHECK(codes.dim() == 2 && codes.scalar_type() == at::kChar,
               "codes must be int8 [out_features, in_features], got ",
               c10::toString(codes.scalar_type()), " ", codes.sizes());
  NIBBLE_CHECK(scales.dim() == 2 && scales.size(0) == codes.size(0) && scales.size(1) >= 1 &&
                   codes.size(1) % scales.size(1) == 0 && scales.scalar_type() == at::kFloat,
               "scales must be Float [", codes.size(0), ", groups] with groups dividing ",
               codes.size(1), ", got ", c10::toString(scales.scalar_type()), " ", scales.sizes());
}

void check_operands(const Tensor& x, const Tensor& codes, const Tensor& scales) {
  check_weight(codes, scales);
  NIBBLE_CHECK(x.dim() >= 1 && x.size(-1) == codes.size(1), "x must be [..., ", codes.size(1),
               "] for codes ", codes.sizes(), ", got ", x.sizes());
}

/// Differentiable in `x` and `bias`.
Tensor dequantize_and_multiply(const Tensor& x, const Tensor& codes, const Tensor& scales,
                               const OptionalTensor& bias) {
  check_operands(x, codes, scales);
  return at::linear(x, dequantize_int8_weight(codes, scales, x.scalar_type()), bias);
}

/// The kernels' view of dense operands, which it keeps; the output is the caller's.
struct Operands {
  Operands(const Tensor& x, const Tensor& codes, const Tensor& scales)
      : input(x.contiguous()), weight(codes.contiguous()), scale(scales.contiguous()) {
    params.rows = codes.size(0);
    params.cols = codes.size(1);
    params.tokens = params.cols == 0 ? 0 : x.numel() / params.cols;
    params.dtype = kernel_dtype(x.scalar_type(), "x");
    params.codes = weight.const_data_ptr<int8_t>();
    params.scales = scale.const_data_ptr<float>();
    params.groups = scales.size(1);
    params.input = input.const_data_ptr();
  }

  Tensor input, weight, scale;
  kernels::Int8WeightLinearParams params;
};

Tensor int8_weight_linear_cpu(const Tensor& x, const Tensor& codes, const Tensor& scales,
                              const OptionalTensor& bias) {
  check_operands(x, codes, scales);
  Operands operands(x, codes, scales);
  kernels::Int8WeightLinearParams& params = operands.params;
  if (params.cols == 0 || params.tokens > kernels::kInt8WeightLinearFewTokens) {
    return multiply_tiles(x, params.rows, bias, [&](int64_t row, int64_t count) {
      return dequantize_int8_weight(codes.narrow(0, row, count), scales.narrow(0, row, count),
                                    x.scalar_type());
    });
  }
  Tensor output = empty_product(x, params.rows, x.scalar_type());
  params.output = output.mutable_data_ptr();
  launch_cpu(params);
  return add_bias(std::move(output), bias);
}

Tensor int8_weight_linear_cuda(const Tensor& x, const Tensor& codes, const Tensor& scales,
                               const OptionalTensor& bias) {
  check_operands(x, codes, scales);
  Operands operands(x, codes, scales);
  if (!kernels::can_run_int8_weight_linear(operands.params)) {
    return dequantize_and_multiply(x, codes, scales, bias);
  }
  Tensor output = empty_product(x, operands.params.rows, x.scalar_type());
  operands.params.output = output.mutable_data_ptr();
  launch_cuda(operands.params, x.device());
  return add_bias(std::move(output), bias);
}

Tensor int8_weight_linear_autograd(const Tensor& x, const Tensor& codes, const Tensor& scales,
                                   const OptionalTensor& bias) {
  if (records_gradient(x, bias)) return dequantize_and_multiply(x, codes, scales, bias);
  at::AutoDispatchBelowADInplaceOrView below_autograd;
  return int8_weight_linear(x, codes, scales, bias);
}

Tensor int8_embedding_any(const Tensor& codes, const Tensor& scales, const Tensor& ids,
                          at::ScalarType dtype) {
  return dequantize_int8_weight(at::embedding(codes, ids), at::embedding(scales, ids), dtype);
}

Tensor int8_embedding_cuda(const Tensor& codes, const Tensor& scales, const Tensor& ids,
                           at::ScalarType dtype) {
  const Tensor weight = codes.contiguous(), scale = scales.contiguous(), rows = ids.contiguous();
  std::vector<int64_t> sizes = ids.sizes().vec();
  sizes.push_back(codes.size(1));
  Tensor output = at::empty(sizes, codes.options().dtype(dtype));
  kernels::Int8EmbeddingParams params;
  params.dtype = kernel_dtype(dtype, "dtype");
  params.rows = codes.size(0);
  params.cols = codes.size(1);
  params.groups = scales.size(1);
  params.codes = weight.const_data_ptr<int8_t>();
  params.scales = scale.const_data_ptr<float>();
  params.tokens = ids.numel();
  params.ids = rows.const_data_ptr<int64_t>();
  params.output = output.mutable_data_ptr();
  if (!kernels::can_run_int8_embedding(params)) {
    return int8_embedding_any(codes, scales, ids, dtype);
  }
  launch_cuda(params, codes.device());
  return output;
}

/// Checks what all of them need.
template <Tensor (*implementation)(const Tensor&, const Tensor&, const Tensor&, at::ScalarType)>
Tensor checked_int8_embedding(const Tensor& codes, const Tensor& scales, const Tensor& ids,
                              at::ScalarType dtype) {
  check_weight(codes, scales);
  NIBBLE_CHECK(ids.scalar_type() == at::kLong && ids.device() == codes.device(),
               "ids must be int64 on ", codes.device(), ", got ", ids.scalar_type(), " on ",
               ids.device());
  return implementation(codes, scales, ids, dtype);
}

}  // namespace

Tensor int8_embedding(const Tensor& codes, const Tensor& scales, const Tensor& ids,
                      at::ScalarType dtype) {
  static const auto op =
      find_operator<Tensor(const Tensor&, const Tensor&, const Tensor&, at::ScalarType)>(
          "nibble::int8_embedding");
  return op.call(codes, scales, ids, dtype);
}

Tensor int8_weight_linear(const Tensor& x, const Tensor& codes, const Tensor& scales,
                          const OptionalTensor& bias) {
  static const auto op =
      find_operator<Tensor(const Tensor&, const Tensor&, const Tensor&, const OptionalTensor&)>(
          "nibble::int8_weight_linear");
  return op.call(x, codes, scales, bias);
}

Tensor dequantize_int8_weight(const Tensor& codes, const Tensor& scales, at::ScalarType dtype) {
  const Tensor grouped =
      codes.unflatten(-1, {scales.size(-1), codes.size(-1) / scales.size(-1)}).to(at::kFloat);
  return grouped.mul_(scales.unsqueeze(-1)).flatten(-2).to(dtype);
}

TORCH_LIBRARY_FRAGMENT(nibble, library) {
  library.def(
      "int8_embedding(Tensor codes, Tensor scales, Tensor ids, ScalarType dtype) -> Tensor");
}
TORCH_LIBRARY_IMPL(nibble, CPU, library) {
  library.impl("int8_embedding", checked_int8_embedding<int8_embedding_any>);
  library.impl("int8_weight_linear", int8_weight_linear_cpu);
}
TORCH_LIBRARY_IMPL(nibble, CUDA, library) {
  library.impl("int8_embedding", checked_int8_embedding<int8_embedding_cuda>);
  library.impl("int8_weight_linear", int8_weight_linear_cuda);
}
TORCH_LIBRARY_IMPL(nibble, Meta, library) {
  library.impl("int8_embedding", checked_int8_embedding<int8_embedding_any>);
  library.impl("int8_weight_linear", dequantize_and_multiply);
}
TORCH_LIBRARY_IMPL(nibble, Autograd, library) {
  library.impl("int8_weight_linear", int8_weight_linear_autograd);
}

}  // namespace nibble::ops
