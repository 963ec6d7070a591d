#include <nibble/core/error.h>
#include <nibble/ops/decoder.h>

#include <ATen/autocast_mode.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include "fake_quant_calls.h"
#include "launch.h"

namespace nibble::ops {
namespace {

using at::Tensor;

void check_one_dtype(const char* what, const Tensor& a, const Tensor& b) {
  NIBBLE_CHECK(a.scalar_type() == b.scalar_type(), what, " needs one dtype, got ",
               c10::toString(a.scalar_type()), " and ", c10::toString(b.scalar_type()));
}

/// Elements between the tokens of x [batch, tokens, heads, head_dim] as one row of tokens.
int64_t token_stride_of(const Tensor& x) {
  const bool heads_are_dense = x.stride(3) == 1 && x.stride(2) == x.size(3);
  const bool one_row = x.size(0) == 1 || x.stride(0) == x.size(1) * x.stride(1);
  NIBBLE_CHECK(heads_are_dense && one_row, "rotate() needs heads that lie side by side, got sizes ",
               x.sizes(), " with strides ", x.strides());
  return x.stride(1);
}

void check_tables(const Tensor& x, const Tensor& cos, const Tensor& sin) {
  for (const Tensor* table : {&cos, &sin}) {
    check_one_dtype("rotate()", x, *table);
    NIBBLE_CHECK(table->dim() == 4 && (table->size(0) == 1 || table->size(0) == x.size(0)) &&
                     table->size(1) == x.size(1) && table->size(2) == 1 &&
                     table->size(3) <= x.size(3) && table->size(3) % 2 == 0,
                 "rotate() needs tables [1 or ", x.size(0), ", ", x.size(1), ", 1, even, at most ",
                 x.size(3), "], got ", table->sizes());
  }
  NIBBLE_CHECK(cos.sizes() == sin.sizes(), "rotate() got tables ", cos.sizes(), " and ",
               sin.sizes());
}

void check_cached(const Tensor& query, const Tensor& cached) {
  check_one_dtype("single_query_attention()", query, cached);
  NIBBLE_CHECK(cached.dim() == 4 && cached.size(0) == query.size(0) && cached.size(1) >= 1 &&
                   query.size(1) % cached.size(1) == 0 && cached.size(2) >= 1 &&
                   cached.size(3) == query.size(3),
               "single_query_attention() cannot attend from ", query.sizes(), " to ",
               cached.sizes());
}

bool keys_lie_side_by_side(const Tensor& cached) {
  return cached.stride(3) == 1 && cached.stride(2) == cached.size(3);
}

}  // namespace

bool runs_decoder_kernels(const Tensor& x) {
  const at::ScalarType dtype = x.scalar_type();
  return x.is_cpu() && !at::GradMode::is_enabled() &&
         !at::autocast::is_autocast_enabled(at::kCPU) &&
         (dtype == at::kFloat || dtype == at::kBFloat16 || dtype == at::kHalf);
}

Tensor rms_norm(const Tensor& x, const Tensor& weight, double eps, double weight_offset) {
  check_one_dtype("rms_norm()", x, weight);
  NIBBLE_CHECK(weight.dim() == 1 && x.dim() >= 1 && x.size(-1) == weight.size(0),
               "rms_norm() cannot norm ", x.sizes(), " with a weight ", weight.sizes());
  const Tensor input = x.contiguous(), factors = weight.contiguous();
  Tensor output = at::empty_like(input);
  kernels::RmsNormParams params;
  params.dtype = kernel_dtype(x.scalar_type(), "x");
  params.cols = x.size(-1);
  params.input = input.const_data_ptr();
  params.weight = factors.const_data_ptr();
  params.eps = static_cast<float>(eps);
  params.weight_offset = static_cast<float>(weight_offset);
  params.output = output.mutable_data_ptr();
  if (x.numel() > 0) launch_cpu(params, x.numel() / params.cols);
  return output;
}

Tensor swiglu(const Tensor& gate, const Tensor& up) {
  check_one_dtype("swiglu()", gate, up);
  NIBBLE_CHECK(gate.sizes() == up.sizes(), "swiglu() needs one shape, got ", gate.sizes(), " and ",
               up.sizes());
  const Tensor left = gate.contiguous(), right = up.contiguous();
  Tensor output = at::empty_like(left);
  launch_cpu({kernel_dtype(gate.scalar_type(), "gate"), left.const_data_ptr(),
              right.const_data_ptr(), output.mutable_data_ptr()},
             left.numel());
  return output;
}

Tensor rotate(const Tensor& x, const Tensor& cos, const Tensor& sin) {
  NIBBLE_CHECK(x.dim() == 4, "rotate() takes [batch, tokens, heads, head_dim], got ", x.sizes());
  check_tables(x, cos, sin);
  const Tensor cosines = cos.contiguous(), sines = sin.contiguous();
  Tensor output = at::empty(x.sizes(), x.options());
  kernels::RotaryParams params;
  params.dtype = kernel_dtype(x.scalar_type(), "x");
  params.heads = x.size(2);
  params.head_dim = x.size(3);
  params.rotary_dim = cos.size(3);
  params.input = x.const_data_ptr();
  params.token_stride = token_stride_of(x);
  params.cos = cosines.const_data_ptr();
  params.sin = sines.const_data_ptr();
  params.positions = cos.size(0) * cos.size(1);
  params.output = output.mutable_data_ptr();
  if (x.numel() > 0) launch_cpu(params, x.size(0) * x.size(1));
  return output;
}

bool can_run_single_query_attention(int64_t head_dim) {
  return head_dim > 0 && head_dim % kernels::kAttentionHeadMultiple == 0;
}

Tensor single_query_attention(const Tensor& query, const Tensor& key, const Tensor& value,
                              const std::optional<Tensor>& bias, double scale) {
  NIBBLE_CHECK(
      query.dim() == 4 && query.size(2) == 1 && can_run_single_query_attention(query.size(3)),
      "single_query_attention() takes a query [batch, heads, 1, a multiple of ",
      kernels::kAttentionHeadMultiple, "], got ", query.sizes());
  check_cached(query, key);
  check_cached(query, value);
  NIBBLE_CHECK(key.sizes() == value.sizes(), "single_query_attention() got keys ", key.sizes(),
               " and values ", value.sizes());
  const bool as_they_lie = keys_lie_side_by_side(key) && keys_lie_side_by_side(value) &&
                           key.strides() == value.strides();
  const Tensor keys = as_they_lie ? key : key.contiguous();
  const Tensor values = as_they_lie ? value : value.contiguous();
  const Tensor queries = query.contiguous();
  const Tensor hidden = bias ? bias->contiguous() : Tensor();
  Tensor output = at::empty(query.sizes(), query.options());
  kernels::SingleQueryAttentionParams params;
  params.dtype = kernel_dtype(query.scalar_type(), "query");
  params.heads = query.size(1);
  params.kv_heads = key.size(1);
  params.head_dim = query.size(3);
  params.keys = key.size(2);
  params.scale = static_cast<float>(scale);
  params.query = queries.const_data_ptr();
  params.key = keys.const_data_ptr();
  params.value = values.const_data_ptr();
  params.batch_stride = keys.stride(0);
  params.head_stride = keys.stride(1);
  if (hidden.defined()) {
    check_one_dtype("single_query_attention()", query, hidden);
    NIBBLE_CHECK(hidden.dim() == 4 && (hidden.size(0) == 1 || hidden.size(0) == query.size(0)) &&
                     hidden.size(1) == 1 && hidden.size(2) == 1 && hidden.size(3) == params.keys,
                 "single_query_attention() needs a bias [1 or ", query.size(0), ", 1, 1, ",
                 params.keys, "], got ", hidden.sizes());
    params.bias = hidden.const_data_ptr();
    params.bias_stride = hidden.size(0) == 1 ? 0 : params.keys;
  }
  params.output = output.mutable_data_ptr();
  launch_cpu(params, query.size(0));
  return output;
}

}  // namespace nibble::ops
