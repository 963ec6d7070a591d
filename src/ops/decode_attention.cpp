#include "decode_attention.h"

#include <nibble/core/error.h>
#include <nibble/ops/decode.h>

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/library.h>

#include <algorithm>

#include "fake_quant_calls.h"
#include "launch.h"
#include "product.h"

namespace nibble::ops {
namespace {

using at::Tensor;
using OptionalTensor = std::optional<Tensor>;

Tensor rotate(const Tensor& heads, const Tensor& cos, const Tensor& sin) {
  const int64_t rotary = cos.size(-1);
  const Tensor turned = heads.narrow(1, 0, rotary);
  const auto halves = turned.chunk(2, 1);
  const Tensor result = turned * cos + at::cat({-halves[1], halves[0]}, 1) * sin;
  return at::cat({result, heads.narrow(1, rotary, heads.size(1) - rotary)}, 1);
}

Tensor decode_attention_cpu(const DecodeAttention& a) {
  const auto position = a.position.item<int64_t>();
  check_position(a, position);
  const auto prepare = [&](const Tensor& heads, const OptionalTensor& norm) {
    const Tensor normed =
        is_given(norm) ? at::rms_norm(heads, norm->sizes(), norm, a.norm_eps) : heads;
    return rotate(normed, a.cos[position], a.sin[position]);
  };
  a.key_cache.select(1, position).copy_(prepare(a.key, a.key_norm));
  a.value_cache.select(1, position).copy_(a.value);
  const int64_t first = a.window ? std::max<int64_t>(0, position + 1 - *a.window) : 0;
  const auto seen = [&](const Tensor& cache) {
    return cache.narrow(1, first, position + 1 - first).unsqueeze(0);
  };
  const Tensor query =
      prepare(a.query, a.query_norm).reshape({1, a.key.size(0), -1, a.query.size(1)});
  return at::scaled_dot_product_attention(query, seen(a.key_cache), seen(a.value_cache), {}, 0.0,
                                          /*is_causal=*/false, a.scale)
      .reshape(a.query.sizes());
}

kernels::DecodeAttentionParams shape_of(int64_t heads, const Tensor& key_cache) {
  kernels::DecodeAttentionParams params;
  params.heads = heads;
  params.kv_heads = key_cache.size(0);
  params.capacity = key_cache.size(1);
  params.head_dim = key_cache.size(2);
  return params;
}

Tensor decode_attention_cuda(const DecodeAttention& a) {
  const Tensor query = a.query.contiguous(), key = a.key.contiguous(), value = a.value.contiguous();
  const Tensor cos = a.cos.contiguous(), sin = a.sin.contiguous();
  Tensor output = at::empty_like(query);
  kernels::DecodeAttentionParams params = shape_of(query.size(0), a.key_cache);
  params.dtype = kernel_dtype(query.scalar_type(), "query");
  params.rotary_dim = cos.size(1);
  params.query = query.const_data_ptr();
  params.key = key.const_data_ptr();
  params.value = value.const_data_ptr();
  params.key_cache = a.key_cache.mutable_data_ptr();
  params.value_cache = a.value_cache.mutable_data_ptr();
  params.position = a.position.const_data_ptr<int64_t>();
  params.cos = cos.const_data_ptr();
  params.sin = sin.const_data_ptr();
  if (is_given(a.query_norm)) {
    params.query_norm = a.query_norm->const_data_ptr();
    params.key_norm = a.key_norm->const_data_ptr();
  }
  params.norm_eps = static_cast<float>(a.norm_eps);
  params.scale = static_cast<float>(a.scale);
  params.window = a.window.value_or(0);
  params.scratch = a.scratch.mutable_data_ptr();
  params.output = output.mutable_data_ptr();
  NIBBLE_CHECK(kernels::can_run_decode_attention(params),
               "decode_attention on CUDA takes bfloat16 and float16 heads of 64, 128 or 256, got ",
               query.scalar_type(), " heads of ", query.size(1));
  NIBBLE_CHECK(
      static_cast<int64_t>(a.scratch.nbytes()) >= kernels::decode_attention_scratch_bytes(params),
      "scratch is too small: take decode_attention_scratch()");
  launch_cuda(params, query.device());
  return output;
}

/// The operator has the members of DecodeAttention as its arguments.
template <Tensor (*implementation)(const DecodeAttention&)>
Tensor from_arguments(const Tensor& query, const Tensor& key, const Tensor& value,
                      Tensor& key_cache, Tensor& value_cache, const Tensor& position,
                      const Tensor& cos, const Tensor& sin, const OptionalTensor& query_norm,
                      const OptionalTensor& key_norm, double norm_eps, double scale,
                      std::optional<int64_t> window, Tensor& scratch) {
  const DecodeAttention inputs{query,    key,   value,  key_cache,  value_cache,
                               position, cos,   sin,    query_norm, key_norm,
                               norm_eps, scale, window, scratch};
  check_decode_attention(inputs);
  return implementation(inputs);
}

Tensor decode_attention_meta(const DecodeAttention& a) { return at::empty_like(a.query); }

}  // namespace

void check_decode_attention(const DecodeAttention& a) {
  const at::ScalarType dtype = a.query.scalar_type();
  const auto expect = [&](const Tensor& tensor, at::IntArrayRef sizes, const char* name) {
    NIBBLE_CHECK(tensor.sizes() == sizes && tensor.scalar_type() == dtype, name, " must be ", dtype,
                 " ", sizes, ", got ", tensor.scalar_type(), " ", tensor.sizes());
  };
  NIBBLE_CHECK(a.query.dim() == 2 && a.key.dim() == 2 && a.key.size(0) >= 1 &&
                   a.query.size(0) % a.key.size(0) == 0,
               "query must be [heads, head_dim], key [kv_heads, head_dim] with kv_heads a divisor "
               "of heads; got ",
               a.query.sizes(), " and ", a.key.sizes());
  NIBBLE_CHECK(a.key_cache.dim() == 3 && a.cos.dim() == 2 && a.cos.size(1) % 2 == 0 &&
                   a.cos.size(1) <= a.query.size(1),
               "key_cache must be [kv_heads, capacity, head_dim], cos [capacity, rotary_dim] with "
               "an even rotary_dim of at most head_dim; got ",
               a.key_cache.sizes(), " and ", a.cos.sizes());
  const int64_t kv_heads = a.key.size(0), head_dim = a.query.size(1);
  const int64_t capacity = a.key_cache.size(1);
  expect(a.key, {kv_heads, head_dim}, "key");
  expect(a.value, {kv_heads, head_dim}, "value");
  expect(a.key_cache, {kv_heads, capacity, head_dim}, "key_cache");
  expect(a.value_cache, {kv_heads, capacity, head_dim}, "value_cache");
  expect(a.cos, {capacity, a.cos.size(1)}, "cos");
  expect(a.sin, a.cos.sizes(), "sin");
  NIBBLE_CHECK(is_given(a.query_norm) == is_given(a.key_norm),
               "query_norm and key_norm belong together");
  if (is_given(a.query_norm)) {
    expect(*a.query_norm, {head_dim}, "query_norm");
    expect(*a.key_norm, {head_dim}, "key_norm");
  }
  NIBBLE_CHECK(a.position.numel() == 1 && a.position.scalar_type() == at::kLong,
               "position must be one int64, got ", a.position.scalar_type(), " ",
               a.position.sizes());
  NIBBLE_CHECK(a.key_cache.is_contiguous() && a.value_cache.is_contiguous(),
               "the caches must be contiguous");
}

void check_position(const DecodeAttention& a, int64_t position) {
  NIBBLE_CHECK(position >= 0 && position < a.key_cache.size(1), "position must be 0 to ",
               a.key_cache.size(1) - 1, ", got ", position);
}

Tensor decode_attention(const DecodeAttention& a) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("nibble::decode_attention", "")
                             .typed<decltype(from_arguments<decode_attention_cpu>)>();
  Tensor key_cache = a.key_cache, value_cache = a.value_cache, scratch = a.scratch;
  return op.call(a.query, a.key, a.value, key_cache, value_cache, a.position, a.cos, a.sin,
                 a.query_norm, a.key_norm, a.norm_eps, a.scale, a.window, scratch);
}

Tensor decode_attention_scratch(int64_t heads, const Tensor& key_cache) {
  const auto options = key_cache.options().dtype(at::kByte);
  if (!key_cache.is_cuda()) return at::empty({0}, options);
  return at::zeros({kernels::decode_attention_scratch_bytes(shape_of(heads, key_cache))}, options);
}

TORCH_LIBRARY_FRAGMENT(nibble, library) {
  library.def(
      "decode_attention(Tensor query, Tensor key, Tensor value, Tensor(a!) key_cache, Tensor(b!) "
      "value_cache, Tensor position, Tensor cos, Tensor sin, Tensor? query_norm, Tensor? key_norm, "
      "float norm_eps, float scale, int? window, Tensor(c!) scratch) -> Tensor");
}
TORCH_LIBRARY_IMPL(nibble, CPU, library) {
  library.impl("decode_attention", from_arguments<decode_attention_cpu>);
}
TORCH_LIBRARY_IMPL(nibble, CUDA, library) {
  library.impl("decode_attention", from_arguments<decode_attention_cuda>);
}
TORCH_LIBRARY_IMPL(nibble, Meta, library) {
  library.impl("decode_attention", from_arguments<decode_attention_meta>);
}

}  // namespace nibble::ops
