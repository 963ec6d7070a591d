#include <nibble/core/error.h>
#include <nibble/ops/token_product.h>

#include <ATen/ops/empty.h>

#include <optional>
#include <utility>
#include <variant>

#include "fake_quant_calls.h"
#include "launch.h"
#include "thread_scratch.h"
#include "vector_add.h"

namespace nibble::ops {

using at::Tensor;

TokenInput::TokenInput(int64_t features, const at::TensorOptions& options, bool quantizes)
    : value(at::empty({features}, options)) {
  if (!quantizes) return;
  codes_ = at::empty({features}, options.dtype(at::kChar));
  arranged_ = at::empty({features}, options.dtype(at::kByte));
  scale_ = at::empty({1}, options.dtype(at::kFloat));
  zero_ = at::empty({1}, options.dtype(at::kFloat));
}

void TokenInput::quantize() const {
  if (!quantizes()) return;
  kernels::FakeQuantParams params;
  params.matrix = activation_matrix(value, value.scalar_type());
  params.input = value.const_data_ptr();
  params.input_row_stride = params.matrix.cols;
  params.output_dtype = params.matrix.dtype;
  params.scales = scale_.mutable_data_ptr();
  params.zeros = zero_.mutable_data_ptr();
  params.codes = codes_.mutable_data_ptr<int8_t>();
  kernels::fake_quantize_cpu(params, 0, 1);
  kernels::arrange_int8_activations_cpu(
      {params.codes, params.matrix.cols, arranged_.mutable_data_ptr<uint8_t>()}, 0, 1);
}

StoredInt4 StoredInt4::rows(int64_t begin, int64_t count) const {
  const auto part = [&](const Tensor& tensor) {
    return tensor.defined() ? tensor.narrow(0, begin, count) : tensor;
  };
  return {part(packed), part(scales), part(zeros), part(bias)};
}

/// The kernel's view of them, and what keeps it valid.
struct TokenProduct::Operands {
  StoredInt4 weight;
  TokenInput input;
  Tensor output;
  std::variant<kernels::QuantizedLinearParams, kernels::Int8LinearParams> params;
};

namespace {

kernels::GroupedMatrix matrix_of(const StoredInt4& weight, const TokenInput& input) {
  const int64_t in = input.value.size(0), out = weight.packed.size(0);
  check_packed(weight.packed, in);
  return weight_matrix(
      {out, in}, input.value.scalar_type(),
      check_parameters({out, in}, weight.scales,
                       weight.zeros.defined() ? std::optional(weight.zeros) : std::nullopt,
                       !weight.zeros.defined()));
}

}  // namespace

bool TokenProduct::takes(const StoredInt4& weight, const TokenInput& input) {
  const kernels::GroupedMatrix matrix = matrix_of(weight, input);
  const bool takes_bias =
      !weight.bias.defined() || (weight.bias.scalar_type() == input.value.scalar_type() &&
                                 weight.bias.sizes() == at::IntArrayRef{matrix.rows});
  if (!takes_bias) return false;
  return input.quantizes() ? kernels::can_run_int8_linear(matrix)
                           : kernels::can_run_quantized_linear_cpu(matrix);
}

TokenProduct::TokenProduct(const StoredInt4& weight, const TokenInput& input, Tensor output) {
  NIBBLE_CHECK(takes(weight, input), "no kernel multiplies a ", input.value.scalar_type(),
               " token with this weight ", weight.packed.sizes(), " and its bias");
  NIBBLE_CHECK(output.is_contiguous() && output.numel() == weight.packed.size(0) &&
                   output.scalar_type() == input.value.scalar_type(),
               "the output must be contiguous ", input.value.scalar_type(), " [",
               weight.packed.size(0), "], got ", output.scalar_type(), " ", output.sizes());
  const StoredInt4 stored{weight.packed.contiguous(), weight.scales.contiguous(),
                          weight.zeros.defined() ? weight.zeros.contiguous() : Tensor(),
                          weight.bias.defined() ? weight.bias.contiguous() : Tensor()};
  auto operands = std::make_shared<Operands>(Operands{stored, input, std::move(output), {}});
  const auto fill = [&](auto params) {
    params.weight = matrix_of(stored, input);
    params.packed_codes = stored.packed.const_data_ptr<uint8_t>();
    params.scales = stored.scales.const_data_ptr();
    params.tokens = 1;
    params.output = operands->output.mutable_data_ptr();
    return params;
  };
  if (input.quantizes()) {
    auto params = fill(kernels::Int8LinearParams{});
    params.arranged = input.arranged_.const_data_ptr<uint8_t>();
    params.activation_scales = input.scale_.const_data_ptr<float>();
    params.activation_zeros = input.zero_.const_data_ptr<float>();
    operands->params = params;
  } else {
    auto params = fill(kernels::QuantizedLinearParams{});
    params.zeros = stored.zeros.defined() ? stored.zeros.const_data_ptr() : nullptr;
    params.input = input.value.const_data_ptr();
    operands->params = params;
  }
  operands_ = std::move(operands);
}

const Tensor& TokenProduct::output() const { return operands_->output; }

int64_t TokenProduct::tile() const {
  return operands_->input.quantizes() ? kernels::kInt8LinearTileRows : 1;
}

void TokenProduct::run(int64_t begin, int64_t end) const {
  if (const auto* params = std::get_if<kernels::Int8LinearParams>(&operands_->params)) {
    kernels::int8_linear_cpu(*params, begin, end,
                             scratch_of_thread(kernels::int8_linear_scratch_bytes(params->weight)));
  } else {
    const auto& product = std::get<kernels::QuantizedLinearParams>(operands_->params);
    kernels::quantized_linear_cpu(
        product, begin, end, scratch_of_thread(kernels::quantized_linear_scratch_bytes(product)));
  }
  if (operands_->weight.bias.defined()) {
    add_range(operands_->output, operands_->weight.bias, begin, end);
  }
}

}  // namespace nibble::ops
