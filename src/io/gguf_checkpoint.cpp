#include "gguf_checkpoint.h"

#include <nibble/core/error.h>
#include <nibble/io/gguf.h>
#include <nibble/io/json.h>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <map>

#include "gguf_metadata.h"
#include "gguf_tokenizer.h"

namespace nibble::io {
namespace fs = std::filesystem;
namespace {

using nlohmann::json;

struct NamePair {
  std::string_view gguf, hugging_face;
};

constexpr std::array kTopNames = {
    NamePair{"token_embd", "model.embed_tokens"},
    NamePair{"output_norm", "model.norm"},
    NamePair{"output", "lm_head"},
};
constexpr std::array kLayerNames = {
    NamePair{"attn_norm", "input_layernorm"},    NamePair{"attn_q", "self_attn.q_proj"},
    NamePair{"attn_k", "self_attn.k_proj"},      NamePair{"attn_v", "self_attn.v_proj"},
    NamePair{"attn_output", "self_attn.o_proj"}, NamePair{"ffn_norm", "post_attention_layernorm"},
    NamePair{"ffn_gate", "mlp.gate_proj"},       NamePair{"ffn_up", "mlp.up_proj"},
    NamePair{"ffn_down", "mlp.down_proj"},
};
constexpr std::string_view kSuffix = ".weight";
constexpr std::string_view kLayerPrefix = "blk.";
constexpr char kOutputHead[] = "lm_head.weight";

template <size_t kCount>
std::optional<std::string_view> look_up(const std::array<NamePair, kCount>& names,
                                        std::string_view name) {
  for (const NamePair& pair : names) {
    if (pair.gguf == name) return pair.hugging_face;
  }
  return std::nullopt;
}

/// "12" and "0", not "012": each tensor has one name only.
std::optional<int64_t> parse_layer(std::string_view text) {
  int64_t layer = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), layer);
  if (error != std::errc() || std::to_string(layer) != text) return std::nullopt;
  return layer;
}

/// "blk.3.attn_q.weight" -> "model.layers.3.self_attn.q_proj.weight"; nothing for a name that the
/// llama architecture does not have.
std::optional<std::string> hugging_face_name(std::string_view name, int64_t layers) {
  if (!name.ends_with(kSuffix)) return std::nullopt;
  std::string_view stem = name.substr(0, name.size() - kSuffix.size());
  if (!stem.starts_with(kLayerPrefix)) {
    const auto top = look_up(kTopNames, stem);
    return top ? std::optional(std::string(*top) + std::string(kSuffix)) : std::nullopt;
  }
  stem.remove_prefix(kLayerPrefix.size());
  const size_t dot = stem.find('.');
  if (dot == std::string_view::npos) return std::nullopt;
  const std::optional<int64_t> layer = parse_layer(stem.substr(0, dot));
  const auto part = look_up(kLayerNames, stem.substr(dot + 1));
  if (!layer || *layer >= layers || !part) return std::nullopt;
  return "model.layers." + std::to_string(*layer) + "." + std::string(*part) + std::string(kSuffix);
}

/// GGUF holds each head's rotary pairs interleaved, Hugging Face the two halves one after the
/// other: rows (heads, dim/2, 2) become (heads, 2, dim/2), the inverse of llama.cpp's permute().
TensorData unpermute_rows(const TensorData& stored, int64_t heads) {
  const int64_t rows = stored.shape[0], dim = rows / heads;
  const size_t row_bytes = stored.bytes.size() / static_cast<size_t>(rows);
  auto buffer = std::make_shared<std::vector<std::byte>>(stored.bytes.size());
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t head = row / dim, half = row % dim / (dim / 2), pair = row % (dim / 2);
    const int64_t source = head * dim + pair * 2 + half;
    std::memcpy(buffer->data() + static_cast<size_t>(row) * row_bytes,
                stored.bytes.data() + static_cast<size_t>(source) * row_bytes, row_bytes);
  }
  return {stored.dtype, stored.shape, *buffer, buffer};
}

/// A float32 of the file as the decimal number it was written from: 9.99999975e-06 is 1e-05.
double rounded_to_six_digits(double value) {
  std::array<char, 32> text;
  const auto printed =
      std::to_chars(text.data(), text.data() + text.size(), value, std::chars_format::general, 6);
  double rounded = 0;
  std::from_chars(text.data(), printed.ptr, rounded);
  return rounded;
}

json or_null(std::optional<int64_t> id) { return id ? json(*id) : json(nullptr); }

class GgufCheckpoint final : public Checkpoint {
 public:
  explicit GgufCheckpoint(const fs::path& path) : file_(path), metadata_(file_) {
    check_architecture();
    layers_ = metadata_.size("llama.block_count");
    heads_ = positive("llama.attention.head_count");
    kv_heads_ = metadata_.find("llama.attention.head_count_kv") == nullptr
                    ? heads_
                    : positive("llama.attention.head_count_kv");
    map_names();
    generation_config_ = token_ids();
    generation_config_["_from_model_config"] = true;
    tokenizer_config_ = gguf_tokenizer_config(file_);
    config_ = make_config();
    // GGUF promises no encoding; who prints the configuration must not meet bytes that JSON
    // refuses.
    dump_json(tokenizer_config_, path.string() + ": the tokenizer's metadata");
  }

  const fs::path& path() const override { return file_.path(); }
  const json& config() const override { return config_; }
  const json& tokenizer_config() const override { return tokenizer_config_; }
  const json& generation_config() const override { return generation_config_; }

  std::vector<std::string> tensor_names() const override {
    std::vector<std::string> names;
    for (const auto& [name, stored] : names_) names.push_back(name);
    return names;
  }
  bool contains(const std::string& name) const override { return names_.count(name) != 0; }

  TensorData read(const std::string& name) const override {
    const auto found = names_.find(name);
    NIBBLE_CHECK(found != names_.end(), path().string(), ": no tensor named \"", name, "\"");
    const TensorData stored = file_.read(found->second);
    const int64_t heads = rotary_heads(found->second);
    return heads == 0 ? stored : unpermute_rows(stored, heads);
  }

  std::string tokenizer_json() const override { return gguf_tokenizer_json(file_); }

  std::optional<std::string> chat_template() const override {
    const json& value = tokenizer_config_.at("chat_template");
    return value.is_null() ? std::nullopt : std::optional(value.get<std::string>());
  }

 private:
  void check_architecture() const {
    const std::string architecture = metadata_.string("general.architecture");
    NIBBLE_CHECK(architecture == "llama", path().string(), ": architecture \"", architecture,
                 "\" is not supported in GGUF files (llama is)");
    const int64_t parts = metadata_.size_or("split.count", 1);
    NIBBLE_CHECK(parts <= 1, path().string(), ": this is one of ", parts,
                 " parts; join them first (llama-gguf-split --merge)");
    const std::string scaling_key = "llama.rope.scaling.type";
    if (metadata_.find(scaling_key) != nullptr) {
      const std::string scaling = metadata_.string(scaling_key);
      NIBBLE_CHECK(scaling == "none", metadata_.where(scaling_key), ": \"", scaling,
                   "\" is not supported in GGUF files (none is)");
    }
  }

  int64_t positive(const std::string& key) const {
    const int64_t value = metadata_.size(key);
    NIBBLE_CHECK(value > 0, metadata_.where(key), " is 0, it must be positive");
    return value;
  }

  void map_names() {
    for (const std::string& stored : file_.names()) {
      const std::optional<std::string> name = hugging_face_name(stored, layers_);
      NIBBLE_CHECK(name, path().string(), ": tensor \"", stored,
                   "\" does not belong to a llama model of ", layers_, " layers");
      names_[*name] = stored;
      check_rotary_rows(stored);
    }
  }

  void check_rotary_rows(const std::string& stored) const {
    const int64_t heads = rotary_heads(stored);
    if (heads == 0) return;
    const std::vector<int64_t>& shape = file_.at(stored).shape;
    NIBBLE_CHECK(shape.size() == 2 && shape[0] % (2 * heads) == 0, path().string(), ": tensor \"",
                 stored, "\" does not have two dimensions with rows for ", heads,
                 " heads of even size");
  }

  /// Heads of a tensor whose rows stand in rotary order; 0 for the others.
  int64_t rotary_heads(std::string_view stored) const {
    if (stored.ends_with(".attn_q.weight")) return heads_;
    if (stored.ends_with(".attn_k.weight")) return kv_heads_;
    return 0;
  }

  json token_ids() const {
    const std::optional<int64_t> bos = gguf_token_id(file_, "bos_token_id");
    const std::optional<int64_t> eos = gguf_token_id(file_, "eos_token_id");
    const std::optional<int64_t> pad = gguf_token_id(file_, "padding_token_id");
    return {{"bos_token_id", or_null(bos)},
            {"eos_token_id", or_null(eos)},
            {"pad_token_id", or_null(pad ? pad : eos)}};
  }

  int64_t vocab_size() const {
    if (metadata_.find("llama.vocab_size") != nullptr) return metadata_.size("llama.vocab_size");
    return static_cast<int64_t>(metadata_.array("tokenizer.ggml.tokens").size());
  }

  json make_config() const {
    const int64_t hidden = positive("llama.embedding_length");
    json config = {
        {"architectures", {"LlamaForCausalLM"}},
        {"model_type", "llama"},
        {"hidden_size", hidden},
        {"intermediate_size", positive("llama.feed_forward_length")},
        {"num_hidden_layers", layers_},
        {"num_attention_heads", heads_},
        {"num_key_value_heads", kv_heads_},
        {"head_dim", metadata_.size_or("llama.rope.dimension_count", hidden / heads_)},
        {"vocab_size", vocab_size()},
        {"max_position_embeddings", metadata_.size("llama.context_length")},
        {"rope_theta", metadata_.real_or("llama.rope.freq_base", 10000.0)},
        {"rope_scaling", nullptr},
        {"rms_norm_eps",
         rounded_to_six_digits(metadata_.real("llama.attention.layer_norm_rms_epsilon"))},
        {"hidden_act", "silu"},
        {"attention_bias", false},
        {"attention_dropout", 0.0},
        {"mlp_bias", false},
        {"initializer_range", 0.041666666666666664},
        {"tie_word_embeddings", !contains(kOutputHead)},
        {"use_cache", true},
        {"torch_dtype", "bfloat16"},
    };
    config.update(token_ids());
    return config;
  }

  GgufFile file_;
  GgufMetadata metadata_;
  int64_t layers_ = 0, heads_ = 0, kv_heads_ = 0;
  std::map<std::string, std::string> names_;  // Hugging Face name -> name in the file
  json config_, tokenizer_config_, generation_config_;
};

}  // namespace

std::unique_ptr<Checkpoint> open_gguf_checkpoint(const fs::path& path) {
  return std::make_unique<GgufCheckpoint>(path);
}

}  // namespace nibble::io
