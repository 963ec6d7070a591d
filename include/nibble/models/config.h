#pragma once

#include <nibble/models/config_reader.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace nibble::models {

enum class Activation { kSilu, kGelu, kGeluTanh, kRelu };

enum class RopeKind {
  kDefault,
  kLinear,    ///< all frequencies divided by `factor`
  kLlama3,    ///< low frequencies divided by `factor`, a smooth transition above them
  kYarn,      ///< low frequencies divided by `factor`, high ones kept, a linear ramp between them
  kLongRope,  ///< each frequency divided by its own factor, another one for long texts
};

/// Rotary position embedding.
struct RopeOptions {
  RopeKind kind = RopeKind::kDefault;
  int64_t rotary_dim = 0;  ///< leading elements of a head that are rotated; even
  double theta = 10000.0;
  double factor = 1.0;            ///< kLinear, kLlama3 and kYarn
  double low_freq_factor = 1.0;   ///< kLlama3 only
  double high_freq_factor = 4.0;  ///< kLlama3 only
  double beta_fast = 32.0;  ///< kYarn only: turns in the original context from which on a frequency
                            ///< is kept
  double beta_slow = 1.0;   ///< kYarn only: turns up to which it is divided
  bool truncate = true;     ///< kYarn only: the ramp begins and ends at whole pairs
  int64_t original_max_position_embeddings = 0;  ///< kLlama3, kYarn and kLongRope
  std::vector<double> short_factors = {};        ///< kLongRope only: rotary_dim / 2
  std::vector<double> long_factors =
      {};                         ///< kLongRope only: for texts of more tokens than the original
  double attention_factor = 1.0;  ///< kYarn and kLongRope: of the rotated part of queries and keys
};

/// What a layer's attention sees.
struct AttentionKind {
  RopeOptions rope;
  std::optional<int64_t> sliding_window = {};  ///< a token sees itself and the window - 1 before it
};

/// What a pre-norm decoder (decoder.h) is made of. An architecture's file turns its config.json
/// into one of these.
struct ModelConfig {
  int64_t vocab_size = 0;
  int64_t hidden_size = 0;
  int64_t intermediate_size = 0;
  int64_t num_layers = 0;
  int64_t num_heads = 0;
  int64_t num_kv_heads = 0;  ///< divides num_heads
  int64_t head_dim = 0;
  int64_t max_position_embeddings = 0;
  Activation activation = Activation::kSilu;
  double rms_norm_eps = 1e-6;
  double norm_weight_offset = 0.0;  ///< norms multiply by offset + weight
  double attention_dropout = 0.0;
  double initializer_range = 0.02;
  std::vector<AttentionKind> attention_kinds;  ///< at least one
  std::vector<size_t> layer_kinds;             ///< one of attention_kinds for each layer
  bool qkv_bias = false;
  bool attention_output_bias = false;
  bool mlp_bias = false;
  bool fused_projections = false;  ///< qkv_proj and gate_up_proj instead of q, k, v, gate, up
  bool query_key_norm = false;     ///< RMSNorm over head_dim of each query and key
  bool output_norms = false;       ///< attention and feed-forward block are normed before they are
                                   ///< added, each with a norm of its own for the input
  std::optional<double> attention_scale;     ///< of the scores; empty: 1 / sqrt(head_dim)
  std::optional<double> attention_soft_cap;  ///< scores become cap * tanh(score / cap)
  std::optional<double> logit_soft_cap;      ///< the same for the logits
  double embedding_scale = 1.0;              ///< rounded to the embedding's dtype before use
  bool tie_word_embeddings = false;
  std::vector<int64_t> eos_token_ids;
  /// The embedding's row for padding gets no gradient from look-ups, as in transformers.
  std::optional<int64_t> pad_token_id;
};

/// What an architecture's configuration class in transformers says where config.json is silent; as
/// it stands, LlamaConfig.
struct ConfigDefaults {
  int64_t max_position_embeddings = 2048;
  double rms_norm_eps = 1e-6;
  double rope_theta = 10000.0;
  /// Of LongRoPE, YaRN and Llama 3's scaling; empty: max_position_embeddings.
  std::optional<int64_t> original_max_position_embeddings = {};
  std::optional<int64_t> head_dim = {};  ///< empty: hidden_size / num_attention_heads
  bool partial_rotary = false;  ///< partial_rotary_factor counts; else whole heads are rotated
  const char* activation_key = "hidden_act";
  const char* activation = "silu";
  bool tie_word_embeddings = false;
  std::optional<int64_t> pad_token_id = {};
};

/// The keys that all Llama-like configurations share, as transformers 4 and 5 write them
/// (`rope_theta` and `rope_scaling`, or `rope_parameters`). All layers are of one attention kind,
/// without a window. Throws Error.
ModelConfig parse_decoder_config(const ConfigReader& reader, const ConfigDefaults& defaults = {});

/// The rotation that config.json describes; what it leaves out is as in `fallback`, whose
/// rotary_dim is that of `partial_rotary_factor` 1. Of `model`, max_position_embeddings is known.
RopeOptions parse_rope(const ConfigReader& reader, const ModelConfig& model, RopeOptions fallback,
                       bool partial_rotary);

/// The same from one `rope_scaling` or `rope_parameters` object of `config`.
RopeOptions parse_rope_scaling(const ConfigReader& scaling, const ConfigReader& config,
                               const ModelConfig& model, RopeOptions fallback,
                               bool partial_rotary = false);

/// `sliding_window`; where config.json does not say, `fallback`. Null turns it off.
std::optional<int64_t> parse_sliding_window(const ConfigReader& reader,
                                            std::optional<int64_t> fallback);

/// Makes layers of kind `sliding` of those that `layer_types` calls "sliding_attention"; where
/// config.json has no such list, of those that `is_sliding` holds for. The others stay as they are.
void set_sliding_layers(ModelConfig& config, const ConfigReader& reader,
                        const AttentionKind& sliding,
                        const std::function<bool(int64_t layer)>& is_sliding);

}  // namespace nibble::models
