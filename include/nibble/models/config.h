#pragma once

#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace nibble::models {

/// Typed, checked access to the keys of a config.json. A key that is null counts as absent. Every
/// reader throws Error naming the file, the key, its value and what is allowed.
class ConfigReader {
 public:
  /// `config` must outlive the reader; `origin` names the file in messages.
  ConfigReader(const nlohmann::json& config, std::string origin);

  bool has(const char* key) const;
  /// An integer from 1 to `max`.
  int64_t size(const char* key, int64_t max) const;
  int64_t size_or(const char* key, int64_t max, int64_t fallback) const;
  /// A finite number above 0.
  double positive_number_or(const char* key, double fallback) const;
  bool boolean_or(const char* key, bool fallback) const;
  std::string text_or(const char* key, const std::string& fallback) const;
  /// One token id, a list of them, or absent (empty).
  std::vector<int64_t> token_ids(const char* key) const;
  /// A reader of the object under `key`; its messages name "key.inner".
  ConfigReader object(const char* key) const;

  /// Throws Error "<origin>: <key> is <value>; <allowed>".
  [[noreturn]] void reject(const char* key, std::string_view allowed) const;

  const std::string& origin() const { return origin_; }
  const nlohmann::json& json() const { return *config_; }

 private:
  const nlohmann::json* find(const char* key) const;

  const nlohmann::json* config_;
  std::string origin_;
  std::string prefix_;
};

enum class Activation { kSilu, kGelu, kGeluTanh, kRelu };

enum class RopeKind {
  kDefault,
  kLinear,  ///< all frequencies divided by `factor`
  kLlama3,  ///< low frequencies divided by `factor`, a smooth transition above them
};

/// Rotary position embedding.
struct RopeOptions {
  RopeKind kind = RopeKind::kDefault;
  double theta = 10000.0;
  double factor = 1.0;
  double low_freq_factor = 1.0;                  ///< kLlama3 only
  double high_freq_factor = 4.0;                 ///< kLlama3 only
  int64_t original_max_position_embeddings = 0;  ///< kLlama3 only
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
  int64_t head_dim = 0;      ///< even
  int64_t max_position_embeddings = 0;
  Activation activation = Activation::kSilu;
  double rms_norm_eps = 1e-6;
  double attention_dropout = 0.0;
  double initializer_range = 0.02;
  RopeOptions rope;
  bool qkv_bias = false;
  bool attention_output_bias = false;
  bool mlp_bias = false;
  bool query_key_norm = false;            ///< RMSNorm over head_dim of each query and key
  std::optional<int64_t> sliding_window;  ///< a token sees itself and the window - 1 before it
  bool tie_word_embeddings = false;
  std::vector<int64_t> eos_token_ids;
  /// The embedding's row for padding gets no gradient from look-ups, as in transformers.
  std::optional<int64_t> pad_token_id;
};

/// The keys that all Llama-like configurations share, as transformers 4 and 5 write them
/// (`rope_theta` and `rope_scaling`, or `rope_parameters`); absent ones have the defaults of
/// transformers' LlamaConfig. Throws Error.
ModelConfig parse_decoder_config(const ConfigReader& reader);

}  // namespace nibble::models
