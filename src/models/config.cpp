#include <nibble/core/error.h>
#include <nibble/models/config.h>

#include <nlohmann/json.hpp>

#include <utility>

namespace nibble::models {
namespace {

// Far above any model, and low enough that no product of sizes overflows.
constexpr int64_t kMaxWidth = int64_t{1} << 24;
constexpr int64_t kMaxHeads = int64_t{1} << 16;
constexpr int64_t kMaxLayers = 4096;
constexpr int64_t kMaxPositions = int64_t{1} << 30;

Activation parse_activation(const ConfigReader& reader, const ConfigDefaults& defaults) {
  return reader.one_of<Activation>(defaults.activation_key, defaults.activation,
                                   {{"silu", Activation::kSilu},
                                    {"swish", Activation::kSilu},
                                    {"gelu", Activation::kGelu},
                                    {"gelu_pytorch_tanh", Activation::kGeluTanh},
                                    {"gelu_new", Activation::kGeluTanh},
                                    {"relu", Activation::kRelu}});
}

int64_t parse_head_dim(const ConfigReader& reader, const ModelConfig& config,
                       std::optional<int64_t> fallback) {
  if (reader.has("head_dim") || fallback) {
    return reader.size_or("head_dim", kMaxHeads, fallback.value_or(0));
  }
  if (config.hidden_size % config.num_heads != 0) {
    reader.reject("num_attention_heads",
                  detail::concat("it must divide hidden_size (", config.hidden_size,
                                 ") unless head_dim is given"));
  }
  return config.hidden_size / config.num_heads;
}

double parse_dropout(const ConfigReader& reader) {
  const char* key = "attention_dropout";
  const auto value = reader.json().find(key);
  if (!reader.has(key) || *value == 0) return 0.0;
  const double dropout = reader.positive_number_or(key, 0.0);
  if (dropout >= 1.0) reader.reject(key, "it must be a number from 0 to below 1");
  return dropout;
}

std::optional<int64_t> parse_pad_token(const ConfigReader& reader, int64_t vocab_size,
                                       std::optional<int64_t> fallback) {
  const char* key = "pad_token_id";
  const std::vector<int64_t> ids = reader.token_ids(key);
  if (ids.empty() && reader.contains(key)) return std::nullopt;
  if (ids.empty() && !fallback) return std::nullopt;
  // Like torch.nn.Embedding's padding_idx, a negative id counts from the end.
  const int64_t given = ids.empty() ? *fallback : ids.front();
  const int64_t id = given < 0 ? given + vocab_size : given;
  if (id < 0 || id >= vocab_size) {
    reader.reject(key, detail::concat("it must be a token id below vocab_size (default ",
                                      fallback ? std::to_string(*fallback) : "none", ")"));
  }
  return id;
}

}  // namespace

ModelConfig parse_decoder_config(const ConfigReader& reader, const ConfigDefaults& defaults) {
  ModelConfig config;
  config.vocab_size = reader.size("vocab_size", kMaxWidth);
  config.hidden_size = reader.size("hidden_size", kMaxWidth);
  config.intermediate_size = reader.size("intermediate_size", kMaxWidth);
  config.num_layers = reader.size("num_hidden_layers", kMaxLayers);
  config.num_heads = reader.size("num_attention_heads", kMaxHeads);
  config.num_kv_heads = reader.size_or("num_key_value_heads", kMaxHeads, config.num_heads);
  if (config.num_heads % config.num_kv_heads != 0) {
    reader.reject("num_key_value_heads",
                  detail::concat("it must divide num_attention_heads (", config.num_heads, ")"));
  }
  config.head_dim = parse_head_dim(reader, config, defaults.head_dim);
  config.max_position_embeddings =
      reader.size_or("max_position_embeddings", kMaxPositions, defaults.max_position_embeddings);
  config.activation = parse_activation(reader, defaults);
  config.rms_norm_eps = reader.positive_number_or("rms_norm_eps", defaults.rms_norm_eps);
  config.attention_dropout = parse_dropout(reader);
  config.initializer_range = reader.positive_number_or("initializer_range", 0.02);
  const RopeOptions rope{
      .rotary_dim = config.head_dim,
      .theta = defaults.rope_theta,
      .original_max_position_embeddings =
          defaults.original_max_position_embeddings.value_or(config.max_position_embeddings)};
  config.attention_kinds = {
      {.rope = parse_rope(reader, config, rope, defaults.partial_rotary), .sliding_window = {}}};
  config.layer_kinds.assign(static_cast<size_t>(config.num_layers), 0);
  config.tie_word_embeddings =
      reader.boolean_or("tie_word_embeddings", defaults.tie_word_embeddings);
  config.eos_token_ids = reader.token_ids("eos_token_id");
  config.pad_token_id = parse_pad_token(reader, config.vocab_size, defaults.pad_token_id);
  return config;
}

std::optional<int64_t> parse_sliding_window(const ConfigReader& reader,
                                            std::optional<int64_t> fallback) {
  const char* key = "sliding_window";
  if (reader.has(key)) return reader.size(key, kMaxPositions);
  return reader.contains(key) ? std::nullopt : fallback;
}

void set_sliding_layers(ModelConfig& config, const ConfigReader& reader,
                        const AttentionKind& sliding,
                        const std::function<bool(int64_t layer)>& is_sliding) {
  constexpr const char* kKey = "layer_types";
  constexpr std::string_view kSliding = "sliding_attention";
  const size_t kind = config.attention_kinds.size();
  config.attention_kinds.push_back(sliding);
  if (!reader.has(kKey)) {
    for (size_t layer = 0; layer < config.layer_kinds.size(); ++layer) {
      if (is_sliding(static_cast<int64_t>(layer))) config.layer_kinds[layer] = kind;
    }
    return;
  }
  const std::vector<std::string> types = reader.texts(kKey, config.layer_kinds.size());
  for (size_t layer = 0; layer < types.size(); ++layer) {
    if (types[layer] == kSliding) {
      config.layer_kinds[layer] = kind;
    } else if (types[layer] != "full_attention") {
      reader.reject(kKey, "supported: full_attention sliding_attention");
    }
  }
}

}  // namespace nibble::models
