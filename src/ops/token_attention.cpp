#include <nibble/core/error.h>
#include <nibble/ops/decoder.h>
#include <nibble/ops/token_stages.h>

#include <ATen/ops/empty_like.h>

#include <algorithm>
#include <cstring>
#include <memory>

#include "decode_attention.h"
#include "fake_quant_calls.h"
#include "launch.h"
#include "product.h"
#include "thread_scratch.h"

namespace nibble::ops {
namespace {

using at::Tensor;

/// decode_attention() on the kernels of the ordinary CPU forward.
class TokenAttention {
 public:
  TokenAttention(const DecodeAttention& inputs, Tensor output)
      : a_(inputs),
        output_(std::move(output)),
        group_(inputs.query.size(0) / inputs.key.size(0)),
        head_dim_(inputs.query.size(1)),
        normed_query_(at::empty_like(inputs.query)),
        normed_key_(at::empty_like(inputs.key)),
        rotated_(at::empty_like(inputs.query)) {
    norm_.dtype = rotary_.dtype = attention_.dtype = kernel_dtype(a_.query.scalar_type(), "query");
    norm_.cols = head_dim_;
    norm_.eps = static_cast<float>(a_.norm_eps);
    rotary_.head_dim = head_dim_;
    rotary_.rotary_dim = a_.cos.size(1);
    rotary_.positions = 1;
    attention_.heads = a_.query.size(0);
    attention_.kv_heads = a_.key.size(0);
    attention_.head_dim = head_dim_;
    attention_.scale = static_cast<float>(a_.scale);
    attention_.query = rotated_.const_data_ptr();
    attention_.head_stride = a_.key_cache.stride(0);
    attention_.output = output_.mutable_data_ptr();
  }

  /// Norms and rotates the key heads [begin, end) and their queries; keys and values go into the
  /// cache.
  void prepare(int64_t begin, int64_t end) const {
    const int64_t position = checked_position();
    for (int64_t head = begin; head < end; ++head) {
      const int64_t cached = head * a_.key_cache.size(1) + position;
      rotate(normed(a_.query, a_.query_norm, normed_query_, head * group_, group_), group_,
             position, row(rotated_, head * group_));
      rotate(normed(a_.key, a_.key_norm, normed_key_, head, 1), 1, position,
             row(a_.key_cache, cached));
      std::memcpy(row(a_.value_cache, cached), row(a_.value, head),
                  static_cast<size_t>(head_dim_ * a_.value.element_size()));
    }
  }

  /// The query heads [begin, end), all prepared.
  void attend(int64_t begin, int64_t end) const {
    const int64_t position = checked_position();
    const int64_t first = a_.window ? std::max<int64_t>(0, position + 1 - *a_.window) : 0;
    kernels::SingleQueryAttentionParams params = attention_;
    params.keys = position + 1 - first;
    params.key = row(a_.key_cache, first);
    params.value = row(a_.value_cache, first);
    kernels::single_query_attention_cpu(
        params, begin, end,
        scratch_of_thread(kernels::single_query_attention_scratch_bytes(params)));
  }

 private:
  int64_t checked_position() const {
    const int64_t position = *a_.position.const_data_ptr<int64_t>();
    check_position(a_, position);
    return position;
  }

  /// `count` heads from the first on, after the norm where there is one.
  const void* normed(const Tensor& heads, const std::optional<Tensor>& weight,
                     const Tensor& storage, int64_t first, int64_t count) const {
    if (!is_given(weight)) return row(heads, first);
    kernels::RmsNormParams params = norm_;
    params.input = row(heads, first);
    params.weight = weight->const_data_ptr();
    params.output = row(storage, first);
    kernels::rms_norm_cpu(params, 0, count);
    return params.output;
  }

  void rotate(const void* heads, int64_t count, int64_t position, void* output) const {
    kernels::RotaryParams params = rotary_;
    params.heads = count;
    params.input = heads;
    params.token_stride = count * head_dim_;
    params.cos = row(a_.cos, position);
    params.sin = row(a_.sin, position);
    params.output = output;
    kernels::rotate_cpu(params, 0, 1);
  }

  /// Row `index` of a contiguous tensor, all dimensions but the last taken for rows.
  static void* row(const Tensor& tensor, int64_t index) {
    return static_cast<char*>(tensor.data_ptr()) +
           index * tensor.size(-1) * static_cast<int64_t>(tensor.element_size());
  }

  DecodeAttention a_;
  Tensor output_;
  int64_t group_, head_dim_;
  Tensor normed_query_, normed_key_, rotated_;
  kernels::RmsNormParams norm_;
  kernels::RotaryParams rotary_;
  kernels::SingleQueryAttentionParams attention_;
};

}  // namespace

std::vector<Stage> attention_stages(const DecodeAttention& inputs, const Tensor& output) {
  check_decode_attention(inputs);
  NIBBLE_CHECK(can_run_single_query_attention(inputs.query.size(1)), "heads of ",
               inputs.query.size(1), " have no attention kernel on the CPU");
  NIBBLE_CHECK(
      output.sizes() == inputs.query.sizes() && output.scalar_type() == inputs.query.scalar_type(),
      "output must be like the query, ", inputs.query.scalar_type(), " ", inputs.query.sizes(),
      ", got ", output.scalar_type(), " ", output.sizes());
  for (const Tensor& tensor :
       {inputs.query, inputs.key, inputs.value, inputs.cos, inputs.sin, output,
        inputs.query_norm.value_or(output), inputs.key_norm.value_or(output)}) {
    NIBBLE_CHECK(!tensor.defined() || tensor.is_contiguous(),
                 "the tensors of a stage must be contiguous");
  }
  const auto attention = std::make_shared<const TokenAttention>(inputs, output);
  // Key heads are too few to be shared out evenly; their queries are not.
  return {{inputs.key.size(0), 1,
           [attention](int64_t begin, int64_t end) { attention->prepare(begin, end); }},
          {inputs.query.size(0), 1,
           [attention](int64_t begin, int64_t end) { attention->attend(begin, end); }}};
}

}  // namespace nibble::ops
