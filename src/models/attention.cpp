#include <nibble/core/error.h>
#include <nibble/models/attention.h>

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>

#include <limits>

namespace nibble::models {
namespace {

using torch::Tensor;

/// bool [B or 1, T, S]: true where the query may look.
Tensor visible_keys(const at::Device& device, int64_t tokens, int64_t past,
                    const Tensor& padding_mask, const Tensor& segment_ids,
                    std::optional<int64_t> sliding_window) {
  const auto options = at::TensorOptions(at::kLong).device(device);
  const Tensor keys = at::arange(past + tokens, options);
  const Tensor queries = at::arange(past, past + tokens, options).unsqueeze(1);
  Tensor visible = (keys <= queries).unsqueeze(0);
  if (sliding_window) visible = visible & (keys > queries - *sliding_window);
  if (segment_ids.defined()) {
    NIBBLE_CHECK(past == 0, "packed rows (segment_ids) cannot continue a KV cache");
    visible = visible & (segment_ids.unsqueeze(1) == segment_ids.unsqueeze(2));
  }
  if (padding_mask.defined()) {
    NIBBLE_CHECK(padding_mask.dim() == 2 && padding_mask.size(1) == past + tokens,
                 "attention_mask must be [batch, ", past + tokens, "], got ", padding_mask.sizes());
    visible = visible & padding_mask.to(at::kBool).unsqueeze(1);
  }
  return visible | (keys == queries);
}

}  // namespace

AttentionMask make_attention_mask(const Tensor& query_like, int64_t tokens, int64_t past,
                                  const Tensor& padding_mask, const Tensor& segment_ids,
                                  std::optional<int64_t> sliding_window) {
  if (sliding_window && *sliding_window >= past + tokens) sliding_window.reset();
  const bool plain = !padding_mask.defined() && !segment_ids.defined() && !sliding_window;
  if (plain && (past == 0 || tokens == 1)) return {.causal = tokens > 1, .bias = {}};
  const Tensor visible =
      visible_keys(query_like.device(), tokens, past, padding_mask, segment_ids, sliding_window);
  // Made once here: scaled_dot_product_attention would convert a bool mask in every layer.
  const Tensor bias = at::zeros(visible.sizes(), query_like.options().requires_grad(false));
  return {
      .causal = false,
      .bias = bias.masked_fill(~visible, -std::numeric_limits<double>::infinity()).unsqueeze(1)};
}

AttentionImpl::AttentionImpl(const ModelConfig& config, int64_t layer,
                             const ParameterSource& source)
    : config_(config), layer_(layer) {
  build(source);
}

void AttentionImpl::reset() { build(meta_parameters()); }

void AttentionImpl::build(const ParameterSource& source) {
  const int64_t hidden = config_.hidden_size;
  const int64_t query_width = config_.num_heads * config_.head_dim;
  const int64_t key_width = config_.num_kv_heads * config_.head_dim;
  const auto add = [&](const char* name, int64_t in_features, int64_t out_features, bool bias) {
    return register_module(name, make_linear(source.child(name), in_features, out_features, bias));
  };
  q_proj = add("q_proj", hidden, query_width, config_.qkv_bias);
  k_proj = add("k_proj", hidden, key_width, config_.qkv_bias);
  v_proj = add("v_proj", hidden, key_width, config_.qkv_bias);
  o_proj = add("o_proj", query_width, hidden, config_.attention_output_bias);
  if (!config_.query_key_norm) return;
  const auto add_norm = [&](const char* name) {
    return register_module(name,
                           RMSNorm(config_.head_dim, config_.rms_norm_eps, source.child(name)));
  };
  q_norm = add_norm("q_norm");
  k_norm = add_norm("k_norm");
}

Tensor AttentionImpl::forward(const Tensor& input, const AttentionContext& context) {
  const nn::SharedInput shared(input);
  const auto project = [&](nn::Linear& linear, int64_t heads) {
    return linear->forward_shared(shared).view(
        {input.size(0), input.size(1), heads, config_.head_dim});
  };
  Tensor query = project(q_proj, config_.num_heads);
  Tensor key = project(k_proj, config_.num_kv_heads);
  Tensor value = project(v_proj, config_.num_kv_heads).transpose(1, 2);
  if (config_.query_key_norm) {
    query = q_norm->forward(query);
    key = k_norm->forward(key);
  }
  query = apply_rotary(query, context.rotary).transpose(1, 2);
  key = apply_rotary(key, context.rotary).transpose(1, 2);
  if (context.cache) std::tie(key, value) = context.cache->append(layer_, key, value);
  const Tensor output = attend(query, key, value, context.mask);
  return o_proj->forward(output.transpose(1, 2).flatten(2));
}

Tensor AttentionImpl::attend(const Tensor& query, const Tensor& key, const Tensor& value,
                             const AttentionMask& mask) const {
  const std::optional<Tensor> bias = mask.bias.defined() ? std::optional(mask.bias) : std::nullopt;
  const double dropout = is_training() ? config_.attention_dropout : 0.0;
  if (query.size(2) == 1) {
    // One token: the heads of a group are the rows of one small product, so the cached keys and
    // values need not be repeated for each of them.
    const int64_t group = config_.num_heads / config_.num_kv_heads;
    const Tensor grouped =
        query.reshape({query.size(0), config_.num_kv_heads, group, config_.head_dim});
    return at::scaled_dot_product_attention(grouped, key, value, bias, dropout)
        .reshape(query.sizes());
  }
  return at::scaled_dot_product_attention(query, key, value, bias, dropout, mask.causal,
                                          /*scale=*/std::nullopt,
                                          /*enable_gqa=*/config_.num_heads != config_.num_kv_heads);
}

}  // namespace nibble::models
