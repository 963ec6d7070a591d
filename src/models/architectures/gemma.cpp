#include <nibble/models/decoder.h>
#include <nibble/models/registry.h>

#include <cmath>

namespace nibble::models {
namespace {

constexpr double kLocalTheta = 10000.0;
constexpr int64_t kMaxPattern = 4096;

ConfigDefaults gemma_defaults(double rope_theta, int64_t max_position_embeddings) {
  return {.max_position_embeddings = max_position_embeddings,
          .rope_theta = rope_theta,
          .head_dim = 256,
          .activation_key = "hidden_activation",
          .activation = "gelu_pytorch_tanh",
          .tie_word_embeddings = true,
          .pad_token_id = 0};
}

/// A cap that null turns off.
std::optional<double> parse_soft_cap(const ConfigReader& reader, const char* key,
                                     std::optional<double> fallback) {
  if (reader.has(key)) return reader.positive_number_or(key, 0.0);
  return reader.contains(key) ? std::nullopt : fallback;
}

/// What Gemma 2 and 3 have in common.
ModelConfig parse_gemma_config(const ConfigReader& reader, const ConfigDefaults& defaults) {
  if (reader.boolean_or("use_bidirectional_attention", false)) {
    reader.reject("use_bidirectional_attention",
                  "it must be false: an embedding model, which "
                  "looks ahead, is no causal language model");
  }
  ModelConfig config = parse_decoder_config(reader, defaults);
  config.norm_weight_offset = 1.0;
  config.output_norms = true;
  config.embedding_scale = std::sqrt(static_cast<double>(config.hidden_size));
  config.attention_scale = 1.0 / std::sqrt(reader.positive_number_or("query_pre_attn_scalar", 256));
  config.qkv_bias = reader.boolean_or("attention_bias", false);
  config.attention_output_bias = config.qkv_bias;
  return config;
}

ModelConfig parse_gemma2_config(const ConfigReader& reader) {
  ModelConfig config = parse_gemma_config(reader, gemma_defaults(10000.0, 8192));
  config.attention_soft_cap = parse_soft_cap(reader, "attn_logit_softcapping", 50.0);
  config.logit_soft_cap = parse_soft_cap(reader, "final_logit_softcapping", 30.0);
  AttentionKind sliding = config.attention_kinds.front();
  sliding.sliding_window = parse_sliding_window(reader, 4096);
  set_sliding_layers(config, reader, sliding, [](int64_t layer) { return layer % 2 == 0; });
  return config;
}

/// Layers with a window have a rotation of their own. transformers 5 writes both into
/// `rope_parameters`; before, `rope_theta` and `rope_scaling` were the other layers'.
AttentionKind parse_gemma3_rope(const ConfigReader& reader, ModelConfig& config) {
  AttentionKind sliding{.rope = {.rotary_dim = config.head_dim, .theta = kLocalTheta},
                        .sliding_window = parse_sliding_window(reader, 4096)};
  if (!reader.has("rope_parameters")) {
    sliding.rope.theta = reader.positive_number_or("rope_local_base_freq", kLocalTheta);
    return sliding;
  }
  const ConfigReader both = reader.object("rope_parameters");
  RopeOptions& full = config.attention_kinds.front().rope;
  full = parse_rope_scaling(both.object("full_attention"), reader, config, full);
  sliding.rope = parse_rope_scaling(both.object("sliding_attention"), reader, config, sliding.rope);
  return sliding;
}

ModelConfig parse_gemma3_config(const ConfigReader& reader) {
  ModelConfig config = parse_gemma_config(reader, gemma_defaults(1e6, 131072));
  if (reader.has("attn_logit_softcapping")) {
    reader.reject("attn_logit_softcapping", "it must be null: Gemma 3 caps no attention scores");
  }
  config.query_key_norm = true;
  config.logit_soft_cap = parse_soft_cap(reader, "final_logit_softcapping", std::nullopt);
  const int64_t pattern = reader.size_or("sliding_window_pattern", kMaxPattern, 6);
  set_sliding_layers(config, reader, parse_gemma3_rope(reader, config),
                     [pattern](int64_t layer) { return (layer + 1) % pattern != 0; });
  return config;
}

}  // namespace

/// The text models of Gemma 2 and 3. Source: transformers, models/gemma2 and models/gemma3.
void add_gemma(ArchitectureMap& architectures) {
  architectures["Gemma2ForCausalLM"] = [](const ConfigReader& reader,
                                          const ParameterSource& source) {
    return std::make_shared<DecoderLMImpl>(parse_gemma2_config(reader), reader.json(), source);
  };
  architectures["Gemma3ForCausalLM"] = [](const ConfigReader& reader,
                                          const ParameterSource& source) {
    return std::make_shared<DecoderLMImpl>(parse_gemma3_config(reader), reader.json(), source);
  };
}

}  // namespace nibble::models
