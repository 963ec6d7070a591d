#include <nibble/core/error.h>
#include <nibble/ops/token_stages.h>

#include <ATen/Dispatch.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <utility>
#include <variant>

#include "fake_quant_calls.h"
#include "int4_operands.h"
#include "launch.h"
#include "thread_scratch.h"

namespace nibble::ops {
namespace {

using at::Tensor;

/// `sums`[i] += `values`[i] for the elements [begin, end), rounded as LibTorch's add does.
void add_range(const Tensor& sums, const Tensor& values, int64_t begin, int64_t end) {
  AT_DISPATCH_FLOATING_TYPES_AND2(
      at::kBFloat16, at::kHalf, sums.scalar_type(), "add_range", [&] {
        scalar_t* sum = sums.mutable_data_ptr<scalar_t>();
        const scalar_t* value = values.const_data_ptr<scalar_t>();
        for (int64_t i = begin; i < end; ++i) sum[i] = sum[i] + value[i];
      });
}

at::Tensor int8_scales(const at::TensorOptions& options) {
  return at::empty({1}, options.dtype(at::kFloat));
}

}  // namespace

TokenInput::TokenInput(int64_t features, const at::TensorOptions& options, bool quantizes)
    : value(at::empty({features}, options)) {
  if (!quantizes) return;
  codes_ = at::empty({features}, options.dtype(at::kChar));
  arranged_ = at::empty({features}, options.dtype(at::kByte));
  scale_ = int8_scales(options);
  zero_ = int8_scales(options);
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
  return weight_matrix({out, in}, input.value.scalar_type(),
                       check_parameters({out, in}, weight.scales,
                                        weight.zeros.defined() ? std::optional(weight.zeros)
                                                               : std::nullopt,
                                        !weight.zeros.defined()));
}

}  // namespace

bool TokenProduct::takes(const StoredInt4& weight, const TokenInput& input) {
  const kernels::GroupedMatrix matrix = matrix_of(weight, input);
  return input.quantizes() ? kernels::can_run_int8_linear(matrix)
                           : kernels::can_run_quantized_linear_cpu(matrix);
}

TokenProduct::TokenProduct(const StoredInt4& weight, const TokenInput& input, Tensor output) {
  NIBBLE_CHECK(takes(weight, input), "no kernel multiplies a token with this weight ",
               weight.packed.sizes());
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

int64_t TokenProduct::rows() const { return operands_->output.numel(); }

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

Stage side_by_side(std::vector<TokenProduct> products) {
  const int64_t tile = products.front().tile();
  // Each begins at a tile of the stage.
  const auto room = [tile](const TokenProduct& product) {
    return (product.rows() + tile - 1) / tile * tile;
  };
  int64_t rows = 0;
  for (const TokenProduct& product : products) rows += room(product);
  return {rows, tile, [room, products = std::move(products)](int64_t begin, int64_t end) {
            for (const TokenProduct& product : products) {
              const int64_t last = std::min(end, product.rows());
              if (begin < last && last > 0) product.run(std::max<int64_t>(begin, 0), last);
              begin -= room(product);
              end -= room(product);
            }
          }};
}

Stage gated_silu_of(TokenProduct gate, TokenProduct up, const Tensor& gate_values,
                    const Tensor& up_values, const Tensor& output) {
  const kernels::SwigluParams params{kernel_dtype(output.scalar_type(), "output"),
                                     gate_values.const_data_ptr(), up_values.const_data_ptr(),
                                     output.mutable_data_ptr()};
  const int64_t rows = gate.rows(), tile = gate.tile();
  return {rows, tile,
          [gate = std::move(gate), up = std::move(up), kept = output, params](int64_t begin,
                                                                              int64_t end) {
            gate.run(begin, end);
            up.run(begin, end);
            kernels::swiglu_cpu(params, begin, end);
          }};
}

Stage add_to(const Tensor& residual, TokenProduct product, const Tensor& output) {
  const int64_t rows = product.rows(), tile = product.tile();
  return {rows, tile, [residual, output, product = std::move(product)](int64_t begin, int64_t end) {
            product.run(begin, end);
            add_range(residual, output, begin, end);
          }};
}

Stage norm_of(const Tensor& x, const Tensor& weight, double eps, const TokenInput& output) {
  NIBBLE_CHECK(x.sizes() == weight.sizes() && x.sizes() == output.value.sizes() &&
                   x.scalar_type() == weight.scalar_type(),
               "the norm's weight must be ", x.scalar_type(), " ", x.sizes(), ", got ",
               weight.scalar_type(), " ", weight.sizes());
  const Tensor factors = weight.contiguous();
  kernels::RmsNormParams params;
  params.dtype = kernel_dtype(x.scalar_type(), "x");
  params.cols = x.size(0);
  params.input = x.const_data_ptr();
  params.weight = factors.const_data_ptr();
  params.eps = static_cast<float>(eps);
  params.output = output.value.mutable_data_ptr();
  return {1, 1, [x, factors, output, params](int64_t, int64_t) {
            kernels::rms_norm_cpu(params, 0, 1);
            output.quantize();
          }};
}

Stage quantize(const TokenInput& input) {
  return {1, 1, [input](int64_t, int64_t) { input.quantize(); }};
}

}  // namespace nibble::ops
