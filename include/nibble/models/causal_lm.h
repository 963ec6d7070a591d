#pragma once

#include <nibble/models/config.h>
#include <nibble/models/kv_cache.h>

#include <torch/nn/module.h>

#include <nlohmann/json_fwd.hpp>

#include <memory>

namespace nibble::models {

/// The inputs of a forward beside the tokens. All may be left out.
struct ForwardOptions {
  /// [B, S] int64 or bool, nonzero for real tokens, S = cached + new tokens. Rows padded on the
  /// right need none: attention is causal, so no real token sees the padding.
  at::Tensor attention_mask = {};
  /// [B or 1, T] int64. Default: counted from the cache's length; with segment_ids from the start
  /// of each segment.
  at::Tensor position_ids = {};
  /// [B, T] int64, several samples packed into a row: tokens see their own segment only.
  at::Tensor segment_ids = {};
  /// Read and extended; needs at::NoGradGuard.
  KVCache* cache = nullptr;
};

/// A decoder-only language model. Names of modules and parameters are those of the Hugging Face
/// checkpoint ("model.layers.0.self_attn.q_proj.weight", "lm_head.weight").
class CausalLMImpl : public torch::nn::Module {
 public:
  /// The hidden states after the final norm, [B, T, hidden_size], of `token_ids` [B, T] int64.
  virtual at::Tensor hidden_states(const at::Tensor& token_ids, const ForwardOptions& options) = 0;
  /// The logits [..., vocab_size] of hidden states [..., hidden_size]. A loss that skips positions
  /// selects their hidden states first: the logits are the largest tensor of a training step.
  virtual at::Tensor logits(const at::Tensor& hidden_states) = 0;

  /// Logits [B, T, vocab_size].
  at::Tensor forward(const at::Tensor& token_ids, const ForwardOptions& options = {}) {
    return logits(hidden_states(token_ids, options));
  }

  /// An empty cache on the model's device for `batch` rows of up to `capacity` tokens.
  virtual KVCache make_cache(int64_t batch, int64_t capacity) const = 0;

  /// Whether lm_head and the embedding are one parameter.
  virtual bool has_tied_embeddings() const = 0;

  const ModelConfig& config() const { return config_; }
  /// The config.json that the model was made from.
  const nlohmann::json& config_json() const { return *config_json_; }

 protected:
  CausalLMImpl(ModelConfig config, const nlohmann::json& config_json);

 private:
  ModelConfig config_;
  std::shared_ptr<const nlohmann::json> config_json_;
};

}  // namespace nibble::models
