#include <nibble/core/error.h>
#include <nibble/models/decode_step.h>
#include <nibble/ops/decode.h>

#include <ATen/Functions.h>

#include <algorithm>
#include <typeinfo>

namespace nibble::models {
namespace {

using at::Tensor;

/// Dtype and device of the activations: an embedding may be int8.
at::TensorOptions options_of(const DecoderLMImpl& model) {
  return model.model->embed_tokens->output_options();
}

std::optional<std::string> refusal_of_config(const ModelConfig& config) {
  const auto has_long_rope = [](const AttentionKind& kind) {
    return kind.rope.kind == RopeKind::kLongRope;
  };
  if (config.output_norms) return "its blocks have norms on their outputs";
  if (config.activation != Activation::kSilu) return "its activation is not SiLU";
  if (config.attention_soft_cap) return "its attention scores are capped";
  if (config.norm_weight_offset != 0.0) return "its norm weights have an offset";
  if (config.embedding_scale != 1.0) return "its embedding is scaled";
  if (std::any_of(config.attention_kinds.begin(), config.attention_kinds.end(), has_long_rope)) {
    return "its rotation depends on the length of the text";
  }
  return std::nullopt;
}

std::optional<std::string> refusal_on_cuda(const ModelConfig& config, at::ScalarType dtype) {
  if (dtype != at::kBFloat16 && dtype != at::kHalf) return "it is not bfloat16 or float16";
  if (config.head_dim != 64 && config.head_dim != 128 && config.head_dim != 256) {
    return "its heads are not of 64, 128 or 256";
  }
  return std::nullopt;
}

DecoderLMImpl& decoder(CausalLMImpl& model) {
  const auto refusal = DecodeStep::refusal(model);
  NIBBLE_CHECK(!refusal, "this model cannot be decoded step by step: ", *refusal);
  return dynamic_cast<DecoderLMImpl&>(model);
}

}  // namespace

std::optional<std::string> DecodeStep::refusal(const CausalLMImpl& model) {
  // A class derived from it may compute something else.
  if (typeid(model) != typeid(DecoderLMImpl)) return "it is not one of the library's decoders";
  const auto& decoder = dynamic_cast<const DecoderLMImpl&>(model);
  if (auto reason = refusal_of_config(model.config())) return reason;
  const at::TensorOptions options = options_of(decoder);
  if (!options.device().is_cuda()) return std::nullopt;
  return refusal_on_cuda(model.config(), c10::typeMetaToScalarType(options.dtype()));
}

DecodeStep::DecodeStep(CausalLMImpl& model, const KVCache& cache)
    : model_(decoder(model)), cache_(cache) {
  NIBBLE_CHECK(cache.batch() == 1, "a decode step is for a cache of one row, this one has ",
               cache.batch());
  const ModelConfig& config = model.config();
  const at::TensorOptions options = options_of(model_);
  rotations_ = decode_rotations(model_, cache.capacity());
  token_ = at::zeros({1}, options.dtype(at::kLong));
  position_ = at::zeros({1}, options.dtype(at::kLong));
  scratch_ = ops::decode_attention_scratch(config.num_heads, cache.layer(0).first[0]);
}

Tensor DecodeStep::attend(AttentionImpl& attention, const nn::SharedInput& normed,
                          int64_t layer) const {
  const auto projected = attention.project(normed);
  ops::DecodeAttention inputs = decode_attention_of(model_, layer, cache_, rotations_, position_);
  inputs.query = projected.query[0][0];
  inputs.key = projected.key[0][0];
  inputs.value = projected.value[0][0];
  inputs.scratch = scratch_;
  return attention.o_proj->forward(ops::decode_attention(inputs).view({1, 1, -1}));
}

Tensor DecodeStep::logits() {
  const double eps = model_.config().rms_norm_eps;
  DecoderImpl& decoder = *model_.model;
  Tensor hidden = decoder.embed_tokens->forward(token_).unsqueeze(0);  // [1, 1, hidden_size]
  std::optional<Tensor> update;
  for (size_t i = 0; i < decoder.layers->size(); ++i) {
    auto& layer = *decoder.layers[i]->as<DecoderLayerImpl>();
    const nn::SharedInput normed(
        nn::PendingNorm{hidden, update, layer.input_layernorm->weight, eps});
    update = attend(*layer.self_attn, normed, static_cast<int64_t>(i));
    const nn::SharedInput attended(
        nn::PendingNorm{normed.residual(), update, layer.post_attention_layernorm->weight, eps});
    const auto [gate, up] = layer.mlp->project(attended);
    hidden = attended.residual();
    const nn::SharedInput gated(nn::PendingGate{gate, up});
    update = nn::LinearImpl::forward_together({layer.mlp->down_proj.get()}, gated)[0];
  }
  return model_.logits(ops::add_rms_norm(hidden, update, decoder.norm->weight, eps)[0][0]);
}

}  // namespace nibble::models
