#include "gguf_checkpoint.h"

#include <nibble/core/error.h>
#include <nibble/io/gguf.h>
#include <nibble/io/gguf_model.h>
#include <nibble/io/json.h>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <map>

#include "gguf_architectures.h"
#include "gguf_int8.h"
#include "gguf_metadata.h"
#include "gguf_rope.h"
#include "gguf_tokenizer.h"

namespace nibble::io {
namespace fs = std::filesystem;
namespace {

using nlohmann::json;

constexpr char kOutputHead[] = "lm_head.weight";

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
    architecture_ = read_architecture();
    layers_ = metadata_.size(key("block_count"));
    heads_ = positive(key("attention.head_count"));
    kv_heads_ = has("attention.head_count_kv") ? positive(key("attention.head_count_kv")) : heads_;
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

  StoredTensor stored(const std::string& name) const override {
    const GgufTensor& tensor = file_.at(name_in_file(name));
    return {std::string(tensor.type->name), tensor.shape,
            static_cast<int64_t>(tensor.bytes.size())};
  }
  TensorData read(const std::string& name) const override {
    const std::string& in_file = name_in_file(name);
    const TensorData stored = file_.read(in_file);
    const int64_t heads = rotary_heads(in_file);
    return heads == 0 ? stored : unpermute_rows(stored, heads);
  }
  std::optional<Int8Matrix> read_int8(const std::string& name) const override {
    const std::string& in_file = name_in_file(name);
    std::optional<Int8Matrix> matrix = int8_matrix_of(file_.at(in_file));
    const int64_t heads = rotary_heads(in_file);
    if (!matrix || heads == 0) return matrix;
    return Int8Matrix{unpermute_rows(matrix->codes, heads), unpermute_rows(matrix->scales, heads)};
  }

  std::string tokenizer_json() const override { return gguf_tokenizer_json(file_); }

  std::optional<std::string> chat_template() const override {
    const json& value = tokenizer_config_.at("chat_template");
    return value.is_null() ? std::nullopt : std::optional(value.get<std::string>());
  }

 private:
  const std::string& name_in_file(const std::string& name) const {
    const auto found = names_.find(name);
    NIBBLE_CHECK(found != names_.end(), path().string(), ": no tensor named \"", name, "\"");
    return found->second;
  }

  const GgufArchitecture* read_architecture() const {
    const std::string name = metadata_.string("general.architecture");
    const GgufArchitecture* found = find_gguf_architecture(name);
    NIBBLE_CHECK(found != nullptr, path().string(), ": architecture \"", name,
                 "\" is not supported in GGUF files (", supported_gguf_architectures(), " are)");
    const int64_t parts = metadata_.size_or("split.count", 1);
    NIBBLE_CHECK(parts <= 1, path().string(), ": this is one of ", parts,
                 " parts; join them first (llama-gguf-split --merge)");
    return found;
  }

  /// A metadata key of the architecture.
  std::string key(const std::string& name) const {
    return std::string(architecture_->name) + "." + name;
  }
  bool has(const std::string& name) const { return metadata_.find(key(name)) != nullptr; }

  int64_t positive(const std::string& key) const {
    const int64_t value = metadata_.size(key);
    NIBBLE_CHECK(value > 0, metadata_.where(key), " is 0, it must be positive");
    return value;
  }

  void map_names() {
    for (const std::string& stored : file_.names()) {
      if (stored == GgufModel::kRopeFrequencies) continue;  // part of the configuration
      const std::optional<std::string> name = hugging_face_name(*architecture_, stored, layers_);
      NIBBLE_CHECK(name, path().string(), ": tensor \"", stored, "\" does not belong to a ",
                   architecture_->name, " model of ", layers_, " layers");
      names_[*name] = stored;
      check_rotary_rows(stored);
    }
  }

  void check_rotary_rows(const std::string& stored) const {
    const int64_t heads = rotary_heads(stored);
    if (heads == 0) return;
    const std::vector<int64_t>& shape = file_.at(stored).shape;
    const size_t dimensions = stored.ends_with(".bias") ? 1 : 2;
    NIBBLE_CHECK(shape.size() == dimensions && shape[0] % (2 * heads) == 0, path().string(),
                 ": tensor \"", stored, "\" does not have ",
                 dimensions == 1 ? "one dimension" : "two dimensions", " with rows for ", heads,
                 " heads of even size");
  }

  /// Heads of a tensor whose rows stand in rotary order; 0 for the others.
  int64_t rotary_heads(std::string_view stored) const {
    if (!architecture_->interleaves_rotary_rows) return 0;
    if (stored.find(".attn_q.") != std::string_view::npos) return heads_;
    if (stored.find(".attn_k.") != std::string_view::npos) return kv_heads_;
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
    if (has("vocab_size")) return metadata_.size(key("vocab_size"));
    return static_cast<int64_t>(metadata_.array("tokenizer.ggml.tokens").size());
  }

  int64_t head_dim(int64_t hidden) const {
    const int64_t rotary = metadata_.size_or(key("rope.dimension_count"), hidden / heads_);
    return metadata_.size_or(key("attention.key_length"), rotary);
  }

  /// rope_scaling of config.json.
  json rope_scaling(double theta) const {
    if (file_.contains(GgufModel::kRopeFrequencies)) return llama3_scaling(theta);
    const std::string type =
        has("rope.scaling.type") ? metadata_.string(key("rope.scaling.type")) : std::string("none");
    if (type == "none") return nullptr;
    NIBBLE_CHECK(type == "linear", metadata_.where(key("rope.scaling.type")), ": \"", type,
                 "\" is not supported in GGUF files (none and linear are)");
    return {{"rope_type", "linear"}, {"factor", metadata_.real(key("rope.scaling.factor"))}};
  }

  json llama3_scaling(double theta) const {
    const TensorData stored = file_.read(GgufModel::kRopeFrequencies);
    const std::string where = path().string() + ": " + GgufModel::kRopeFrequencies;
    NIBBLE_CHECK(stored.dtype == DType::kF32, where, " is ", name_of(stored.dtype), ", not F32");
    const std::span<const float> divisors(reinterpret_cast<const float*>(stored.bytes.data()),
                                          static_cast<size_t>(stored.numel()));
    Llama3Rope hint;
    hint.original_context =
        metadata_.size_or(key("rope.scaling.original_context_length"), hint.original_context);
    const std::optional<Llama3Rope> rope = llama3_rope_of(divisors, hint, theta);
    NIBBLE_CHECK(rope && stored.numel() == head_dim(positive(key("embedding_length"))) / 2, where,
                 " does not hold the frequencies of Llama 3's scaling over ", hint.original_context,
                 " positions");
    return {{"rope_type", "llama3"},
            {"factor", rope->factor},
            {"low_freq_factor", rope->low_freq_factor},
            {"high_freq_factor", rope->high_freq_factor},
            {"original_max_position_embeddings", rope->original_context}};
  }

  json make_config() const {
    const int64_t hidden = positive(key("embedding_length"));
    const double theta = metadata_.real_or(key("rope.freq_base"), 10000.0);
    json config = {
        {"architectures", {architecture_->class_name}},
        {"model_type", architecture_->model_type},
        {"hidden_size", hidden},
        {"intermediate_size", positive(key("feed_forward_length"))},
        {"num_hidden_layers", layers_},
        {"num_attention_heads", heads_},
        {"num_key_value_heads", kv_heads_},
        {"head_dim", head_dim(hidden)},
        {"vocab_size", vocab_size()},
        {"max_position_embeddings", metadata_.size(key("context_length"))},
        {"rope_theta", theta},
        {"rope_scaling", rope_scaling(theta)},
        {"rms_norm_eps",
         rounded_to_six_digits(metadata_.real(key("attention.layer_norm_rms_epsilon")))},
        {"hidden_act", "silu"},
        {"attention_bias", contains("model.layers.0.self_attn.o_proj.bias")},
        {"attention_dropout", 0.0},
        {"mlp_bias", contains("model.layers.0.mlp.gate_proj.bias")},
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
  const GgufArchitecture* architecture_ = nullptr;
  int64_t layers_ = 0, heads_ = 0, kv_heads_ = 0;
  std::map<std::string, std::string> names_;  // Hugging Face name -> name in the file
  json config_, tokenizer_config_, generation_config_;
};

}  // namespace

std::unique_ptr<Checkpoint> open_gguf_checkpoint(const fs::path& path) {
  return std::make_unique<GgufCheckpoint>(path);
}

}  // namespace nibble::io
