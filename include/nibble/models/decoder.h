#pragma once

#include <nibble/models/attention.h>
#include <nibble/models/causal_lm.h>
#include <nibble/models/layers.h>
#include <nibble/nn/embedding.h>

#include <torch/nn/modules/container/modulelist.h>

#include <memory>
#include <optional>
#include <vector>

namespace nibble::models {

/// x + attention(norm(x)), then x + mlp(norm(x)); with output_norms what is added is normed too.
class DecoderLayerImpl : public torch::nn::Cloneable<DecoderLayerImpl> {
 public:
  DecoderLayerImpl(const ModelConfig& config, int64_t layer, const ParameterSource& source);
  void reset() override;

  /// `input` [B, T, hidden_size] gives the same shape.
  torch::Tensor forward(const torch::Tensor& input, const AttentionContext& context);

  RMSNorm input_layernorm = nullptr;
  Attention self_attn = nullptr;
  /// Of the feed-forward block's input; with output_norms of the attention's output.
  RMSNorm post_attention_layernorm = nullptr;
  RMSNorm pre_feedforward_layernorm = nullptr;  ///< with output_norms only
  RMSNorm post_feedforward_layernorm = nullptr;
  GatedMLP mlp = nullptr;

 private:
  void build(const ParameterSource& source);

  ModelConfig config_;
  int64_t layer_;
};
TORCH_MODULE(DecoderLayer);

/// Embedding, layers and final norm: the `model` of a Hugging Face checkpoint.
class DecoderImpl : public torch::nn::Cloneable<DecoderImpl> {
 public:
  DecoderImpl(const ModelConfig& config, const ParameterSource& source);
  void reset() override;

  /// See CausalLMImpl::hidden_states.
  torch::Tensor forward(const torch::Tensor& token_ids, const ForwardOptions& options);

  nn::Embedding embed_tokens = nullptr;
  torch::nn::ModuleList layers = nullptr;
  RMSNorm norm = nullptr;

 private:
  void build(const ParameterSource& source);
  torch::Tensor embed(const torch::Tensor& token_ids);
  /// One for each attention kind.
  std::vector<AttentionContext> make_contexts(const torch::Tensor& hidden,
                                              const torch::Tensor& positions,
                                              const ForwardOptions& options) const;

  ModelConfig config_;
  std::vector<RotaryEmbedding> rotary_;  // one for each attention kind
};
TORCH_MODULE(Decoder);

/// A pre-norm decoder with an output projection: Llama and its relatives.
class DecoderLMImpl : public CausalLMImpl {
 public:
  DecoderLMImpl(const ModelConfig& config, const nlohmann::json& config_json,
                const ParameterSource& source);

  at::Tensor hidden_states(const at::Tensor& token_ids, const ForwardOptions& options) override;
  at::Tensor logits(const at::Tensor& hidden_states) override;
  KVCache make_cache(int64_t batch, int64_t capacity) const override;
  bool has_tied_embeddings() const override;
  /// A deep copy; a tied lm_head is tied to the copy's embedding.
  std::shared_ptr<torch::nn::Module> clone(
      const std::optional<torch::Device>& device = std::nullopt) const override;

  Decoder model = nullptr;
  nn::Linear lm_head = nullptr;
};

}  // namespace nibble::models
