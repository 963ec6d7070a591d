#include <nibble/core/error.h>
#include <nibble/io/gguf_model.h>

#include <nlohmann/json.hpp>

#include <limits>

#include "gguf_architectures.h"
#include "gguf_rope.h"

namespace nibble::io {

using nlohmann::json;

/// The keys of a config.json; null counts as absent. Errors name the file and the key.
class GgufModel::Config {
 public:
  Config(const json& config, std::string origin) : config_(config), origin_(std::move(origin)) {}

  const json* find(const char* key) const {
    const auto found = config_.find(key);
    return found == config_.end() || found->is_null() ? nullptr : &*found;
  }
  int64_t size(const char* key, std::optional<int64_t> fallback = std::nullopt) const {
    const json* value = find(key);
    if (value == nullptr && fallback) return *fallback;
    NIBBLE_CHECK(value != nullptr && value->is_number_integer() && *value >= 1 &&
                     *value <= std::numeric_limits<int32_t>::max(),
                 origin_, ": ", key, " must be an integer from 1 to 2^31 - 1");
    return value->get<int64_t>();
  }
  double number(const char* key, std::optional<double> fallback = std::nullopt) const {
    const json* value = find(key);
    if (value == nullptr && fallback) return *fallback;
    NIBBLE_CHECK(value != nullptr && value->is_number(), origin_, ": ", key, " must be a number");
    return value->get<double>();
  }
  std::string text(const char* key, const std::string& fallback) const {
    const json* value = find(key);
    if (value == nullptr) return fallback;
    NIBBLE_CHECK(value->is_string(), origin_, ": ", key, " must be a string");
    return value->get<std::string>();
  }
  std::string class_name() const {
    const json* value = find("architectures");
    NIBBLE_CHECK(
        value != nullptr && value->is_array() && value->size() == 1 && value->front().is_string(),
        origin_, ": architectures must be a list with one name");
    return value->front().get<std::string>();
  }
  /// rope_parameters (transformers 5) or rope_scaling (4), with rope_theta inside or outside.
  Config rope() const {
    for (const char* key : {"rope_parameters", "rope_scaling"}) {
      const json* value = find(key);
      if (value != nullptr && value->is_object()) return {*value, origin_ + ": " + key};
    }
    static const json none = json::object();
    return {none, origin_};
  }

 private:
  const json& config_;
  std::string origin_;
};

GgufModel::GgufModel(const json& json_config, const std::string& origin) : origin_(origin) {
  const Config config(json_config, origin);
  const std::string class_name = config.class_name();
  architecture_ = gguf_architecture_of_class(class_name);
  NIBBLE_CHECK(architecture_ != nullptr, origin, ": ", class_name,
               " cannot be stored as GGUF; the architectures are ", supported_gguf_architectures());
  const std::string activation = config.text("hidden_act", "silu");
  NIBBLE_CHECK(activation == "silu" || activation == "swish", origin, ": hidden_act is ",
               activation, "; llama.cpp computes ", architecture_->name, " with silu only");
  const bool window_off_by_default = class_name != "MistralForCausalLM";
  const bool has_window = config.find("sliding_window") != nullptr ||
                          (!window_off_by_default && !json_config.contains("sliding_window"));
  const json* uses_window = config.find("use_sliding_window");
  NIBBLE_CHECK(
      !has_window || (window_off_by_default && uses_window != nullptr && *uses_window == false),
      origin, ": sliding_window is set; llama.cpp computes ", architecture_->name,
      " without a window");
  heads_ = config.size("num_attention_heads");
  kv_heads_ = config.size("num_key_value_heads", heads_);
  head_dim_ = config.size("head_dim", config.size("hidden_size") / heads_);
  vocab_size_ = config.size("vocab_size");
  add_metadata(config);
  add_rope(config);
}

std::string GgufModel::tensor_name(const std::string& hugging_face_name) const {
  const std::optional<std::string> name = gguf_name(*architecture_, hugging_face_name);
  NIBBLE_CHECK(name, origin_, ": ", hugging_face_name,
               " has no name in GGUF files of architecture ", architecture_->name);
  return *name;
}

std::vector<int64_t> GgufModel::row_order(const std::string& name, int64_t rows) const {
  if (!architecture_->interleaves_rotary_rows) return {};
  const bool query = name.find(".q_proj.") != std::string::npos;
  if (!query && name.find(".k_proj.") == std::string::npos) return {};
  const int64_t heads = query ? heads_ : kv_heads_;
  NIBBLE_CHECK(rows == heads * head_dim_ && head_dim_ % 2 == 0, origin_, ": ", name, " has ", rows,
               " rows, ", heads, " heads of ", head_dim_, " need ", heads * head_dim_);
  std::vector<int64_t> order(static_cast<size_t>(rows));
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t head = row / head_dim_, pair = row % head_dim_ / 2, half = row % 2;
    order[static_cast<size_t>(row)] = head * head_dim_ + half * (head_dim_ / 2) + pair;
  }
  return order;
}

void GgufModel::add_metadata(const Config& config) {
  const std::string prefix = std::string(architecture_->name) + ".";
  const auto add_size = [&](const char* key, int64_t value) {
    metadata_.push_back({prefix + key, static_cast<uint32_t>(value)});
  };
  metadata_.push_back({"general.architecture", std::string(architecture_->name)});
  metadata_.push_back({"general.quantization_version", uint32_t{2}});
  add_size("block_count", config.size("num_hidden_layers"));
  add_size("context_length", config.size("max_position_embeddings", 2048));
  add_size("embedding_length", config.size("hidden_size"));
  add_size("feed_forward_length", config.size("intermediate_size"));
  add_size("attention.head_count", heads_);
  add_size("attention.head_count_kv", kv_heads_);
  add_size("attention.key_length", head_dim_);
  add_size("attention.value_length", head_dim_);
  add_size("rope.dimension_count", head_dim_);
  add_size("vocab_size", vocab_size_);
  metadata_.push_back({prefix + "attention.layer_norm_rms_epsilon",
                       static_cast<float>(config.number("rms_norm_eps", 1e-6))});
}

void GgufModel::add_rope(const Config& config) {
  const std::string prefix = std::string(architecture_->name) + ".rope.";
  const Config rope = config.rope();
  const double theta = rope.number("rope_theta", config.number("rope_theta", 10000.0));
  metadata_.push_back({prefix + "freq_base", static_cast<float>(theta)});
  const std::string kind = rope.text("rope_type", rope.text("type", "default"));
  if (kind == "default") return;
  if (kind == "linear") {
    metadata_.push_back({prefix + "scaling.type", std::string("linear")});
    metadata_.push_back({prefix + "scaling.factor", static_cast<float>(rope.number("factor"))});
    return;
  }
  NIBBLE_CHECK(kind == "llama3", origin_, ": rope_type ", kind,
               " cannot be stored as GGUF (default, linear, llama3 can)");
  const Llama3Rope scaling{
      rope.number("factor"), rope.number("low_freq_factor", 1.0),
      rope.number("high_freq_factor", 4.0),
      rope.size("original_max_position_embeddings", config.size("max_position_embeddings", 2048))};
  NIBBLE_CHECK(
      scaling.low_freq_factor == 1.0 && scaling.high_freq_factor == 4.0, origin_,
      ": a llama3 rope is stored as GGUF with low_freq_factor 1 and high_freq_factor 4 only");
  rope_divisors_ = llama3_divisors(scaling, theta, head_dim_);
  metadata_.push_back({prefix + "scaling.original_context_length",
                       static_cast<uint32_t>(scaling.original_context)});
}

}  // namespace nibble::io
