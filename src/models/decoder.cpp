#include <nibble/core/error.h>
#include <nibble/models/decoder.h>

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>

#include <limits>
#include <string>

namespace nibble::models {
namespace {

using torch::Tensor;

/// Positions [B, T] that start again wherever the segment changes.
Tensor positions_in_segments(const Tensor& segment_ids) {
  const Tensor index =
      at::arange(segment_ids.size(1), segment_ids.options()).expand_as(segment_ids);
  const Tensor before = at::cat({segment_ids.narrow(1, 0, 1), segment_ids.slice(1, 0, -1)}, 1);
  const Tensor starts = at::where(segment_ids != before, index, at::zeros_like(index));
  return index - std::get<0>(at::cummax(starts, 1));
}

Tensor default_positions(const Tensor& token_ids, const ForwardOptions& options) {
  if (options.segment_ids.defined()) return positions_in_segments(options.segment_ids);
  const int64_t past = options.cache ? options.cache->length() : 0;
  return at::arange(past, past + token_ids.size(1), token_ids.options().dtype(at::kLong))
      .unsqueeze(0);
}

void check_inputs(const Tensor& token_ids, const ForwardOptions& options) {
  NIBBLE_CHECK(token_ids.dim() == 2 && token_ids.size(1) >= 1 &&
                   (token_ids.scalar_type() == at::kLong || token_ids.scalar_type() == at::kInt),
               "token_ids must be integers [batch, tokens >= 1], got ", token_ids.scalar_type(),
               " ", token_ids.sizes());
  const Tensor& positions = options.position_ids;
  NIBBLE_CHECK(
      !positions.defined() || (positions.dim() == 2 &&
                               (positions.size(0) == 1 || positions.size(0) == token_ids.size(0)) &&
                               positions.size(1) == token_ids.size(1)),
      "position_ids must be [1 or ", token_ids.size(0), ", ", token_ids.size(1),
      "] like the tokens, got ", positions.sizes());
  NIBBLE_CHECK(!options.segment_ids.defined() || options.segment_ids.sizes() == token_ids.sizes(),
               "segment_ids must have the tokens' shape ", token_ids.sizes(), ", got ",
               options.segment_ids.sizes());
}

/// Only models with several rotations wait for the device to tell the positions.
void set_rotation(KVCache& cache, const ModelConfig& config, const Tensor& positions) {
  constexpr int64_t kLongest = std::numeric_limits<int64_t>::max();
  if (rotation_of(config, kLongest) == 0) return;
  cache.set_rotation(rotation_of(config, positions.max().item<int64_t>() + 1));
}

/// An output projection over the weight of `embedding` in the state that `original` has.
nn::Linear tied_head(const nn::EmbeddingImpl& embedding, const nn::LinearImpl& original) {
  if (embedding.is_int8()) {
    nn::Linear tied(
        at::empty({embedding.rows(), embedding.features()}, at::TensorOptions(at::kMeta)),
        Tensor());
    tied->load_int8(embedding.int8_weight,
                    c10::typeMetaToScalarType(embedding.output_options().dtype()));
    return tied;
  }
  nn::Linear tied(embedding.weight, Tensor());
  if (original.spec()) {
    tied->prepare(*original.spec());
    tied->set_fake_quant_enabled(original.activation_fake_quant_enabled(),
                                 original.weight_fake_quant_enabled());
  }
  return tied;
}

}  // namespace

DecoderLayerImpl::DecoderLayerImpl(const ModelConfig& config, int64_t layer,
                                   const ParameterSource& source)
    : config_(config), layer_(layer) {
  build(source);
}

void DecoderLayerImpl::reset() { build(meta_parameters()); }

void DecoderLayerImpl::build(const ParameterSource& source) {
  const auto add_norm = [&](const char* name) {
    return register_module(name, make_norm(config_, config_.hidden_size, source.child(name)));
  };
  input_layernorm = add_norm("input_layernorm");
  self_attn = register_module("self_attn", Attention(config_, layer_, source.child("self_attn")));
  post_attention_layernorm = add_norm("post_attention_layernorm");
  if (config_.output_norms) {
    pre_feedforward_layernorm = add_norm("pre_feedforward_layernorm");
    post_feedforward_layernorm = add_norm("post_feedforward_layernorm");
  }
  mlp = register_module("mlp", GatedMLP(config_, source.child("mlp")));
}

Tensor DecoderLayerImpl::forward(const Tensor& input, const AttentionContext& context) {
  const Tensor attention = self_attn->forward(input_layernorm->forward(input), context);
  if (!config_.output_norms) {
    const Tensor attended = input + attention;
    return attended + mlp->forward(post_attention_layernorm->forward(attended));
  }
  const Tensor attended = input + post_attention_layernorm->forward(attention);
  const Tensor update = mlp->forward(pre_feedforward_layernorm->forward(attended));
  return attended + post_feedforward_layernorm->forward(update);
}

DecoderImpl::DecoderImpl(const ModelConfig& config, const ParameterSource& source)
    : config_(config) {
  for (const AttentionKind& kind : config.attention_kinds) rotary_.emplace_back(kind.rope);
  build(source);
}

void DecoderImpl::reset() { build(meta_parameters()); }

void DecoderImpl::build(const ParameterSource& source) {
  embed_tokens = register_module(
      "embed_tokens", nn::Embedding(source.child("embed_tokens")(
                                        "weight", {config_.vocab_size, config_.hidden_size}),
                                    config_.pad_token_id));
  layers = register_module("layers", torch::nn::ModuleList());
  const ParameterSource layer_source = source.child("layers");
  for (int64_t layer = 0; layer < config_.num_layers; ++layer) {
    layers->push_back(DecoderLayer(config_, layer, layer_source.child(std::to_string(layer))));
  }
  norm = register_module("norm", make_norm(config_, config_.hidden_size, source.child("norm")));
}

Tensor DecoderImpl::embed(const Tensor& token_ids) {
  const Tensor rows = embed_tokens->forward(token_ids);
  if (config_.embedding_scale == 1.0) return rows;
  return rows * at::scalar_tensor(config_.embedding_scale, at::TensorOptions(rows.scalar_type()));
}

std::vector<AttentionContext> DecoderImpl::make_contexts(const Tensor& hidden,
                                                         const Tensor& positions,
                                                         const ForwardOptions& options) const {
  const int64_t past = options.cache ? options.cache->length() : 0;
  std::vector<AttentionContext> contexts;
  for (size_t kind = 0; kind < rotary_.size(); ++kind) {
    const MaskOptions mask{.padding_mask = options.attention_mask,
                           .segment_ids = options.segment_ids,
                           .sliding_window = config_.attention_kinds[kind].sliding_window,
                           .as_bias = config_.attention_soft_cap.has_value()};
    contexts.push_back({.rotary = rotary_[kind].tables(positions, hidden.scalar_type()),
                        .mask = make_attention_mask(hidden, hidden.size(1), past, mask),
                        .cache = options.cache});
  }
  return contexts;
}

Tensor DecoderImpl::forward(const Tensor& token_ids, const ForwardOptions& options) {
  check_inputs(token_ids, options);
  const Tensor positions =
      options.position_ids.defined() ? options.position_ids : default_positions(token_ids, options);
  if (options.cache) set_rotation(*options.cache, config_, positions);
  Tensor hidden = embed(token_ids);
  const std::vector<AttentionContext> contexts = make_contexts(hidden, positions, options);
  for (size_t layer = 0; layer < layers->size(); ++layer) {
    hidden = layers[layer]->as<DecoderLayerImpl>()->forward(hidden,
                                                            contexts[config_.layer_kinds[layer]]);
  }
  if (options.cache) options.cache->advance(token_ids.size(1));
  return norm->forward(hidden);
}

DecoderLMImpl::DecoderLMImpl(const ModelConfig& config, const nlohmann::json& config_json,
                             const ParameterSource& source)
    : CausalLMImpl(config, config_json) {
  model = register_module("model", Decoder(config, source.child("model")));
  lm_head = register_module(
      "lm_head", config.tie_word_embeddings
                     ? nn::Linear(model->embed_tokens->weight, Tensor())
                     : make_linear(source.child("lm_head"), config.hidden_size, config.vocab_size,
                                   /*with_bias=*/false));
}

Tensor DecoderLMImpl::hidden_states(const Tensor& token_ids, const ForwardOptions& options) {
  return model->forward(token_ids, options);
}

Tensor DecoderLMImpl::logits(const Tensor& states) {
  const Tensor logits = lm_head->forward(states);
  return config().logit_soft_cap ? soft_cap(logits, *config().logit_soft_cap) : logits;
}

KVCache DecoderLMImpl::make_cache(int64_t batch, int64_t capacity) const {
  const ModelConfig& c = config();
  return KVCache({.num_layers = c.num_layers,
                  .batch = batch,
                  .num_kv_heads = c.num_kv_heads,
                  .capacity = capacity,
                  .head_dim = c.head_dim},
                 model->embed_tokens->output_options());
}

bool DecoderLMImpl::has_tied_embeddings() const {
  const nn::EmbeddingImpl& embedding = *model->embed_tokens;
  return embedding.is_int8() ? lm_head->int8_weight.is_same(embedding.int8_weight)
                             : lm_head->weight.is_same(embedding.weight);
}

std::shared_ptr<torch::nn::Module> DecoderLMImpl::clone(
    const std::optional<torch::Device>& device) const {
  auto copy = std::make_shared<DecoderLMImpl>(config(), config_json(), meta_parameters());
  const auto replace = [&]<class Holder>(const char* name, const Holder& original) {
    using Impl = typename Holder::ContainedType;
    return copy->replace_module(name,
                                Holder(std::dynamic_pointer_cast<Impl>(original->clone(device))));
  };
  copy->model = replace("model", model);
  copy->lm_head = replace("lm_head", lm_head);
  if (has_tied_embeddings()) {
    copy->lm_head =
        copy->replace_module("lm_head", tied_head(*copy->model->embed_tokens, *lm_head));
  }
  copy->train(is_training());
  return copy;
}

}  // namespace nibble::models
