#pragma once

#include <nibble/models/config.h>
#include <nibble/models/kv_cache.h>
#include <nibble/models/layers.h>
#include <nibble/models/parameter_source.h>
#include <nibble/models/rope.h>

#include <torch/nn/cloneable.h>
#include <torch/nn/pimpl.h>

#include <optional>

namespace nibble::models {

/// Which keys each query sees.
struct AttentionMask {
  bool causal = false;  ///< query i sees keys 0..i, and there is no `bias`
  at::Tensor bias;      ///< [B or 1, 1, T, S]: 0 where seen, -inf elsewhere; undefined: all seen
};

/// What a mask is made from beside the causal order.
struct MaskOptions {
  at::Tensor padding_mask = {};  ///< [B, S] int64 or bool, nonzero for real tokens; or undefined
  at::Tensor segment_ids = {};   ///< [B, T] int64: tokens see their own segment only (packing)
  std::optional<int64_t> sliding_window = {};
  bool as_bias = false;  ///< the causal order too
};

/// The mask of T queries that follow `past` cached tokens (S = past + T keys; no segments then). A
/// query always sees itself, so rows of padding stay finite.
AttentionMask make_attention_mask(const at::Tensor& query_like, int64_t tokens, int64_t past,
                                  MaskOptions options);

/// What the layers of one attention kind share in one forward.
struct AttentionContext {
  RotaryTables rotary;
  AttentionMask mask;
  KVCache* cache = nullptr;
};

/// Grouped-query self-attention with rotary positions.
class AttentionImpl : public torch::nn::Cloneable<AttentionImpl> {
 public:
  AttentionImpl(const ModelConfig& config, int64_t layer, const ParameterSource& source);
  void reset() override;

  /// `input` [B, T, hidden_size] gives the same shape.
  torch::Tensor forward(const torch::Tensor& input, const AttentionContext& context);

  struct Heads {
    torch::Tensor query;  ///< [B, T, heads, head_dim]; key and value have kv heads
    torch::Tensor key;
    torch::Tensor value;
  };
  /// The projections of `input`, neither normed nor rotated.
  Heads project(const nn::SharedInput& input);
  /// What the products of queries and keys are multiplied by.
  double attention_scale() const;

  nn::Linear q_proj = nullptr;  ///< these three, or with fused_projections qkv_proj
  nn::Linear k_proj = nullptr;
  nn::Linear v_proj = nullptr;
  nn::Linear qkv_proj = nullptr;
  nn::Linear o_proj = nullptr;
  RMSNorm q_norm = nullptr;  ///< with query_key_norm only
  RMSNorm k_norm = nullptr;

 private:
  void build(const ParameterSource& source);
  /// Query [B, heads, T, head_dim], key and value [B, kv heads, S, head_dim].
  torch::Tensor attend(const torch::Tensor& query, const torch::Tensor& key,
                       const torch::Tensor& value, const AttentionMask& mask) const;
  torch::Tensor attend_soft_capped(const torch::Tensor& query, const torch::Tensor& key,
                                   const torch::Tensor& value, const AttentionMask& mask) const;

  ModelConfig config_;
  int64_t layer_;
};
TORCH_MODULE(Attention);

}  // namespace nibble::models
