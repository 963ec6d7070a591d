#include <nibble/core/error.h>
#include <nibble/ops/token_stages.h>

#include <algorithm>
#include <utility>

#include "fake_quant_calls.h"
#include "launch.h"
#include "vector_add.h"

namespace nibble::ops {
namespace {

using at::Tensor;

/// Throws Error unless `tensor` is a contiguous vector like `model`.
void check_vector(const Tensor& tensor, const Tensor& model, const char* name) {
  NIBBLE_CHECK(tensor.is_contiguous() && tensor.sizes() == model.sizes() &&
                   tensor.scalar_type() == model.scalar_type(),
               name, " must be contiguous ", model.scalar_type(), " ", model.sizes(), ", got ",
               tensor.scalar_type(), " ", tensor.sizes());
}

}  // namespace

Stage product_stage(std::vector<TokenProduct> products) {
  NIBBLE_CHECK(!products.empty(), "a stage needs at least one product");
  const int64_t tile = products.front().tile();
  // Each begins at a tile of the stage.
  const auto room = [tile](const TokenProduct& product) {
    return (product.rows() + tile - 1) / tile * tile;
  };
  int64_t rows = 0;
  for (const TokenProduct& product : products) {
    NIBBLE_CHECK(product.tile() == tile, "the products of a stage must be of one kind");
    rows += room(product);
  }
  return {rows, tile, [room, products = std::move(products)](int64_t begin, int64_t end) {
            for (const TokenProduct& product : products) {
              const int64_t first = std::max<int64_t>(begin, 0);
              const int64_t last = std::min(end, product.rows());
              if (first < last) product.run(first, last);
              begin -= room(product);
              end -= room(product);
            }
          }};
}

Stage gated_silu_stage(TokenProduct gate, TokenProduct up, const Tensor& output) {
  check_vector(up.output(), gate.output(), "the output of up");
  check_vector(output, gate.output(), "the output");
  NIBBLE_CHECK(gate.tile() == up.tile(), "gate and up must be products of one kind");
  const kernels::SwigluParams params{kernel_dtype(output.scalar_type(), "output"),
                                     gate.output().const_data_ptr(), up.output().const_data_ptr(),
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

Stage residual_stage(const Tensor& residual, TokenProduct product) {
  check_vector(residual, product.output(), "the residual");
  const int64_t rows = product.rows(), tile = product.tile();
  return {rows, tile, [residual, product = std::move(product)](int64_t begin, int64_t end) {
            product.run(begin, end);
            add_range(residual, product.output(), begin, end);
          }};
}

Stage norm_stage(const Tensor& x, const Tensor& weight, double eps, const TokenInput& output) {
  check_vector(x, output.value, "the norm's input");
  const Tensor factors = weight.contiguous();
  check_vector(factors, output.value, "the norm's weight");
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

Stage quantize_stage(const TokenInput& input) {
  NIBBLE_CHECK(input.quantizes(), "this input has no int8 codes");
  return {1, 1, [input](int64_t, int64_t) { input.quantize(); }};
}

}  // namespace nibble::ops
