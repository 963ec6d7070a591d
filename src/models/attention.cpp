#include <nibble/core/error.h>
#include <nibble/models/attention.h>
#include <nibble/ops/decoder.h>

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>

#include <cmath>
#include <limits>

namespace nibble::models {
namespace {

using torch::Tensor;

/// bool [B or 1, T, S]: true where the query may look.
Tensor visible_keys(const at::Device& device, int64_t tokens, int64_t past,
                    const MaskOptions& mask) {
  const auto options = at::TensorOptions(at::kLong).device(device);
  const Tensor keys = at::arange(past + tokens, options);
  const Tensor queries = at::arange(past, past + tokens, options).unsqueeze(1);
  Tensor visible = (keys <= queries).unsqueeze(0);
  if (mask.sliding_window) visible = visible & (keys > queries - *mask.sliding_window);
  if (mask.segment_ids.defined()) {
    NIBBLE_CHECK(past == 0, "packed rows (segment_ids) cannot continue a KV cache");
    visible = visible & (mask.segment_ids.unsqueeze(1) == mask.segment_ids.unsqueeze(2));
  }
  if (mask.padding_mask.defined()) {
    NIBBLE_CHECK(mask.padding_mask.dim() == 2 && mask.padding_mask.size(1) == past + tokens,
                 "attention_mask must be [batch, ", past + tokens, "], got ",
                 mask.padding_mask.sizes());
    visible = visible & mask.padding_mask.to(at::kBool).unsqueeze(1);
  }
  return visible | (keys == queries);
}

}  // namespace

AttentionMask make_attention_mask(const Tensor& query_like, int64_t tokens, int64_t past,
                                  MaskOptions options) {
  std::optional<int64_t>& window = options.sliding_window;
  if (window && *window >= past + tokens) window.reset();
  const bool plain = !options.padding_mask.defined() && !options.segment_ids.defined() && !window;
  if (plain && tokens == 1) return {};
  if (plain && past == 0 && !options.as_bias) return {.causal = true, .bias = {}};
  const Tensor visible = visible_keys(query_like.device(), tokens, past, options);
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
  if (config_.fused_projections) {
    qkv_proj = add("qkv_proj", hidden, query_width + 2 * key_width, config_.qkv_bias);
  } else {
    q_proj = add("q_proj", hidden, query_width, config_.qkv_bias);
    k_proj = add("k_proj", hidden, key_width, config_.qkv_bias);
    v_proj = add("v_proj", hidden, key_width, config_.qkv_bias);
  }
  o_proj = add("o_proj", query_width, hidden, config_.attention_output_bias);
  if (!config_.query_key_norm) return;
  const auto add_norm = [&](const char* name) {
    return register_module(name, make_norm(config_, config_.head_dim, source.child(name)));
  };
  q_norm = add_norm("q_norm");
  k_norm = add_norm("k_norm");
}

AttentionImpl::Heads AttentionImpl::project(const nn::SharedInput& input) {
  const auto split_heads = [&](const Tensor& projected) {
    return projected.unflatten(-1, {-1, config_.head_dim});
  };
  if (config_.fused_projections) {
    const auto projected = nn::LinearImpl::forward_together({qkv_proj.get()}, input);
    const auto parts =
        split_heads(projected[0])
            .split_with_sizes({config_.num_heads, config_.num_kv_heads, config_.num_kv_heads}, 2);
    return {parts[0], parts[1], parts[2]};
  }
  const auto projected =
      nn::LinearImpl::forward_together({q_proj.get(), k_proj.get(), v_proj.get()}, input);
  return {split_heads(projected[0]), split_heads(projected[1]), split_heads(projected[2])};
}

Tensor AttentionImpl::forward(const Tensor& input, const AttentionContext& context) {
  Heads heads = project(nn::SharedInput(input));
  if (config_.query_key_norm) {
    heads.query = q_norm->forward(heads.query);
    heads.key = k_norm->forward(heads.key);
  }
  const Tensor query = apply_rotary(heads.query, context.rotary).transpose(1, 2);
  Tensor key = apply_rotary(heads.key, context.rotary).transpose(1, 2);
  Tensor value = heads.value.transpose(1, 2);
  if (context.cache) std::tie(key, value) = context.cache->append(layer_, key, value);
  const Tensor output = config_.attention_soft_cap
                            ? attend_soft_capped(query, key, value, context.mask)
                            : attend(query, key, value, context.mask);
  return o_proj->forward(output.transpose(1, 2).flatten(2));
}

double AttentionImpl::attention_scale() const {
  return config_.attention_scale.value_or(1.0 / std::sqrt(config_.head_dim));
}

Tensor AttentionImpl::attend(const Tensor& query, const Tensor& key, const Tensor& value,
                             const AttentionMask& mask) const {
  const std::optional<Tensor> bias = mask.bias.defined() ? std::optional(mask.bias) : std::nullopt;
  const double dropout = is_training() ? config_.attention_dropout : 0.0;
  if (query.size(2) == 1 && dropout == 0.0 && ops::runs_decoder_kernels(query) &&
      ops::can_run_single_query_attention(config_.head_dim)) {
    return ops::single_query_attention(query, key, value, bias, attention_scale());
  }
  if (query.size(2) == 1) {
    // One token: the heads of a group are the rows of one small product, so the cached keys and
    // values need not be repeated for each of them.
    const int64_t group = config_.num_heads / config_.num_kv_heads;
    const Tensor grouped =
        query.reshape({query.size(0), config_.num_kv_heads, group, config_.head_dim});
    return at::scaled_dot_product_attention(grouped, key, value, bias, dropout,
                                            /*is_causal=*/false, config_.attention_scale)
        .reshape(query.sizes());
  }
  return at::scaled_dot_product_attention(query, key, value, bias, dropout, mask.causal,
                                          config_.attention_scale,
                                          /*enable_gqa=*/config_.num_heads != config_.num_kv_heads);
}

Tensor AttentionImpl::attend_soft_capped(const Tensor& query, const Tensor& key,
                                         const Tensor& value, const AttentionMask& mask) const {
  const double scale = attention_scale();
  // The heads of a group and the queries are the rows of one product with their common keys, which
  // are read where they lie.
  const int64_t kv_heads = config_.num_kv_heads, tokens = query.size(2);
  const Tensor grouped = query.unflatten(1, {kv_heads, -1}).flatten(2, 3);
  const Tensor scores = at::matmul(grouped, key.transpose(-2, -1)) * scale;
  Tensor capped = soft_cap(scores, *config_.attention_soft_cap).unflatten(2, {-1, tokens});
  if (mask.bias.defined()) capped = capped + mask.bias.unsqueeze(2);
  const Tensor weights = at::softmax(capped, -1, at::kFloat).to(value.scalar_type());
  const Tensor kept = at::dropout(weights, config_.attention_dropout, is_training());
  return at::matmul(kept.flatten(2, 3), value).unflatten(2, {-1, tokens}).flatten(1, 2);
}

}  // namespace nibble::models
