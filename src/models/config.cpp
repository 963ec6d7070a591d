#include <nibble/core/error.h>
#include <nibble/models/config.h>

#include <nlohmann/json.hpp>

#include <cmath>
#include <map>
#include <utility>

namespace nibble::models {
namespace {

using nlohmann::json;

// Far above any model, and low enough that no product of sizes overflows.
constexpr int64_t kMaxWidth = int64_t{1} << 24;
constexpr int64_t kMaxHeads = int64_t{1} << 16;
constexpr int64_t kMaxLayers = 4096;
constexpr int64_t kMaxPositions = int64_t{1} << 30;

template <class Value>
Value one_of(const ConfigReader& reader, const char* key, const std::string& name,
             const std::map<std::string, Value>& values) {
  const auto found = values.find(name);
  if (found != values.end()) return found->second;
  std::string allowed = "supported:";
  for (const auto& entry : values) allowed += " " + entry.first;
  reader.reject(key, allowed);
}

Activation parse_activation(const ConfigReader& reader) {
  const char* key = reader.has("hidden_activation") ? "hidden_activation" : "hidden_act";
  return one_of<Activation>(reader, key, reader.text_or(key, "silu"),
                            {{"silu", Activation::kSilu},
                             {"swish", Activation::kSilu},
                             {"gelu", Activation::kGelu},
                             {"gelu_pytorch_tanh", Activation::kGeluTanh},
                             {"gelu_new", Activation::kGeluTanh},
                             {"relu", Activation::kRelu}});
}

void parse_rope_scaling(const ConfigReader& scaling, int64_t max_positions, RopeOptions& rope) {
  const char* key = scaling.has("type") && !scaling.has("rope_type") ? "type" : "rope_type";
  rope.kind = one_of<RopeKind>(scaling, key, scaling.text_or(key, "default"),
                               {{"default", RopeKind::kDefault},
                                {"linear", RopeKind::kLinear},
                                {"llama3", RopeKind::kLlama3}});
  if (rope.kind == RopeKind::kDefault) return;
  if (!scaling.has("factor")) scaling.reject("factor", "this kind of rope scaling needs it");
  rope.factor = scaling.positive_number_or("factor", 1.0);
  if (rope.kind == RopeKind::kLinear) return;
  rope.low_freq_factor = scaling.positive_number_or("low_freq_factor", 1.0);
  rope.high_freq_factor = scaling.positive_number_or("high_freq_factor", 4.0);
  if (rope.high_freq_factor <= rope.low_freq_factor) {
    scaling.reject("high_freq_factor", "it must be greater than low_freq_factor");
  }
  rope.original_max_position_embeddings =
      scaling.size_or("original_max_position_embeddings", kMaxPositions, max_positions);
}

RopeOptions parse_rope(const ConfigReader& reader, int64_t max_positions) {
  RopeOptions rope;
  rope.theta = reader.positive_number_or("rope_theta", rope.theta);
  const char* key = reader.has("rope_parameters") ? "rope_parameters" : "rope_scaling";
  if (reader.has(key)) {
    const ConfigReader scaling = reader.object(key);
    rope.theta = scaling.positive_number_or("rope_theta", rope.theta);
    parse_rope_scaling(scaling, max_positions, rope);
  }
  return rope;
}

int64_t parse_head_dim(const ConfigReader& reader, const ModelConfig& config) {
  if (!reader.has("head_dim") && config.hidden_size % config.num_heads != 0) {
    reader.reject("num_attention_heads",
                  detail::concat("it must divide hidden_size (", config.hidden_size,
                                 ") unless head_dim is given"));
  }
  const int64_t head_dim =
      reader.size_or("head_dim", kMaxHeads, config.hidden_size / config.num_heads);
  if (head_dim % 2 != 0) {
    fail(reader.origin(), ": head_dim is ", head_dim,
         "; rotary position embedding needs an even number");
  }
  return head_dim;
}

double parse_dropout(const ConfigReader& reader) {
  const char* key = "attention_dropout";
  const auto value = reader.json().find(key);
  if (!reader.has(key) || *value == 0) return 0.0;
  const double dropout = reader.positive_number_or(key, 0.0);
  if (dropout >= 1.0) reader.reject(key, "it must be a number from 0 to below 1");
  return dropout;
}

}  // namespace

ConfigReader::ConfigReader(const nlohmann::json& config, std::string origin)
    : config_(&config), origin_(std::move(origin)) {
  NIBBLE_CHECK(config.is_object(), origin_, ": must be a JSON object, got ", config.type_name());
}

const nlohmann::json* ConfigReader::find(const char* key) const {
  const auto found = config_->find(key);
  return found == config_->end() || found->is_null() ? nullptr : &*found;
}

bool ConfigReader::has(const char* key) const { return find(key) != nullptr; }

void ConfigReader::reject(const char* key, std::string_view allowed) const {
  const nlohmann::json* value = find(key);
  const std::string text =
      value ? value->dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) : "missing";
  fail(origin_, ": ", prefix_, key, " is ", text, "; ", allowed);
}

int64_t ConfigReader::size(const char* key, int64_t max) const {
  const nlohmann::json* value = find(key);
  const bool fits = value && value->is_number_integer() &&
                    (value->is_number_unsigned() ? value->get<uint64_t>() <= uint64_t(max)
                                                 : value->get<int64_t>() <= max) &&
                    value->get<int64_t>() >= 1;
  if (!fits) reject(key, detail::concat("it must be an integer from 1 to ", max));
  return value->get<int64_t>();
}

int64_t ConfigReader::size_or(const char* key, int64_t max, int64_t fallback) const {
  return has(key) ? size(key, max) : fallback;
}

double ConfigReader::positive_number_or(const char* key, double fallback) const {
  const nlohmann::json* value = find(key);
  if (!value) return fallback;
  const double number = value->is_number() ? value->get<double>() : 0.0;
  if (!std::isfinite(number) || number <= 0.0) reject(key, "it must be a number above 0");
  return number;
}

bool ConfigReader::boolean_or(const char* key, bool fallback) const {
  const nlohmann::json* value = find(key);
  if (!value) return fallback;
  if (!value->is_boolean()) reject(key, "it must be true or false");
  return value->get<bool>();
}

std::string ConfigReader::text_or(const char* key, const std::string& fallback) const {
  const nlohmann::json* value = find(key);
  if (!value) return fallback;
  if (!value->is_string()) reject(key, "it must be a string");
  return value->get<std::string>();
}

std::vector<int64_t> ConfigReader::token_ids(const char* key) const {
  const nlohmann::json* value = find(key);
  if (!value) return {};
  std::vector<int64_t> ids;
  for (const nlohmann::json& id : value->is_array() ? *value : nlohmann::json::array({*value})) {
    if (!id.is_number_integer()) reject(key, "it must be a token id or a list of token ids");
    ids.push_back(id.get<int64_t>());
  }
  return ids;
}

ConfigReader ConfigReader::object(const char* key) const {
  const nlohmann::json* value = find(key);
  if (!value || !value->is_object()) reject(key, "it must be an object");
  ConfigReader inner(*value, origin_);
  inner.prefix_ = prefix_ + key + ".";
  return inner;
}

ModelConfig parse_decoder_config(const ConfigReader& reader) {
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
  config.head_dim = parse_head_dim(reader, config);
  config.max_position_embeddings = reader.size_or("max_position_embeddings", kMaxPositions, 2048);
  config.activation = parse_activation(reader);
  config.rms_norm_eps = reader.positive_number_or("rms_norm_eps", 1e-6);
  config.attention_dropout = parse_dropout(reader);
  config.initializer_range = reader.positive_number_or("initializer_range", 0.02);
  config.rope = parse_rope(reader, config.max_position_embeddings);
  config.tie_word_embeddings = reader.boolean_or("tie_word_embeddings", false);
  config.eos_token_ids = reader.token_ids("eos_token_id");
  if (const std::vector<int64_t> pad = reader.token_ids("pad_token_id"); !pad.empty()) {
    // Like torch.nn.Embedding's padding_idx, a negative id counts from the end.
    const int64_t id = pad.front() < 0 ? pad.front() + config.vocab_size : pad.front();
    if (id < 0 || id >= config.vocab_size) {
      reader.reject("pad_token_id", "it must be a token id below vocab_size");
    }
    config.pad_token_id = id;
  }
  return config;
}

}  // namespace nibble::models
