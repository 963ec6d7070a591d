#include "hf_checkpoint.h"

#include <nibble/core/error.h>
#include <nibble/io/file.h>
#include <nibble/io/file_metadata.h>
#include <nibble/io/json.h>
#include <nibble/io/safetensors.h>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <map>

namespace nibble::io {
namespace fs = std::filesystem;
namespace {

using nlohmann::json;

constexpr char kConfig[] = "config.json";
constexpr char kWeights[] = "model.safetensors";
constexpr char kIndex[] = "model.safetensors.index.json";
constexpr char kTokenizer[] = "tokenizer.json";
constexpr char kTokenizerConfig[] = "tokenizer_config.json";
constexpr char kGenerationConfig[] = "generation_config.json";
constexpr char kChatTemplate[] = "chat_template.jinja";

json read_object(const fs::path& path) {
  json value = read_json_file(path);
  NIBBLE_CHECK(value.is_object(), path.string(), ": not a JSON object");
  return value;
}

json read_object_if_present(const fs::path& path) {
  return path_exists(path) ? read_object(path) : json::object();
}

/// {"content": "<s>", "lstrip": ...} becomes "<s>".
void reduce_to_content(json& token) {
  if (!token.is_object()) return;
  const auto content = token.find("content");
  if (content != token.end() && content->is_string()) token = json(content->get<std::string>());
}

void reduce_special_tokens(json& tokenizer_config) {
  for (auto& [key, value] : tokenizer_config.items()) {
    if (key.ends_with("_token")) reduce_to_content(value);
  }
  const auto additional = tokenizer_config.find("additional_special_tokens");
  if (additional != tokenizer_config.end() && additional->is_array()) {
    for (json& token : *additional) reduce_to_content(token);
  }
}

/// Whether config.json says more than that a decoder without a head was saved ("LlamaModel").
bool names_a_task(const json& config) {
  const auto names = config.find("architectures");
  if (names == config.end() || names->is_null()) return false;
  const bool one = names->is_array() && names->size() == 1 && names->front().is_string();
  return !one || !names->front().get_ref<const std::string&>().ends_with("Model");
}

/// Where config.json names no task, model_type says which causal language model it is, as for
/// transformers' AutoModelForCausalLM.
void name_causal_model(json& config) {
  static const std::map<std::string, const char*> kClasses = {
      {"gemma2", "Gemma2ForCausalLM"}, {"gemma3_text", "Gemma3ForCausalLM"},
      {"llama", "LlamaForCausalLM"},   {"mistral", "MistralForCausalLM"},
      {"phi3", "Phi3ForCausalLM"},     {"qwen2", "Qwen2ForCausalLM"},
      {"qwen3", "Qwen3ForCausalLM"}};
  const auto type = config.find("model_type");
  if (names_a_task(config) || type == config.end() || !type->is_string()) return;
  const auto known = kClasses.find(type->get<std::string>());
  if (known != kClasses.end()) config["architectures"] = json::array({known->second});
}

/// What would have been read had it been there, for a message about what is.
std::string hint_for(const fs::path& folder) {
  std::error_code refused;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, refused)) {
    const fs::path file = entry.path().filename();
    if (file.extension() == ".gguf") return "; to read " + file.string() + ", name that file";
    if (file == "pytorch_model.bin" || file == "pytorch_model.bin.index.json") {
      return "; it holds a pickled checkpoint, which must be converted to safetensors first";
    }
  }
  return "";
}

/// A shard's place in the checkpoint. Index files come from outside: the name must not lead out of
/// the folder.
fs::path shard_path(const fs::path& index, const std::string& tensor, const json& value) {
  NIBBLE_CHECK(value.is_string(), index.string(), ": weight_map[\"", tensor,
               "\"] is not a file name");
  const fs::path file = value.get<std::string>();
  const bool leads_out = std::find(file.begin(), file.end(), "..") != file.end();
  NIBBLE_CHECK(file.has_filename() && file.is_relative() && !leads_out, index.string(),
               ": weight_map[\"", tensor, "\"] names ", file, ", which is outside the folder");
  return index.parent_path() / file;
}

class HfCheckpoint final : public Checkpoint, public FileMetadata {
 public:
  explicit HfCheckpoint(const fs::path& path) : path_(path) {
    NIBBLE_CHECK(path_exists(path / kConfig), "no model at \"", path.string(),
                 "\": the directory has no ", kConfig, hint_for(path));
    config_ = read_object(path / kConfig);
    name_causal_model(config_);
    if (path_exists(path / kWeights)) {
      open_single_file();
    } else if (path_exists(path / kIndex)) {
      open_shards();
    } else {
      fail("no weights in \"", path.string(), "\": neither ", kWeights, " nor ", kIndex,
           " is there", hint_for(path));
    }
    tokenizer_config_ = read_object_if_present(path / kTokenizerConfig);
    reduce_special_tokens(tokenizer_config_);
    generation_config_ = read_object_if_present(path / kGenerationConfig);
  }

  const fs::path& path() const override { return path_; }
  const json& config() const override { return config_; }
  const json& tokenizer_config() const override { return tokenizer_config_; }
  const json& generation_config() const override { return generation_config_; }

  std::vector<std::string> tensor_names() const override {
    std::vector<std::string> names;
    for (const auto& [name, file] : tensors_) names.push_back(name);
    return names;
  }
  bool contains(const std::string& name) const override { return tensors_.count(name) != 0; }
  StoredTensor stored(const std::string& name) const override {
    const TensorData tensor = read(name);  // a view of the mapped file
    return {std::string(name_of(tensor.dtype)), tensor.shape,
            static_cast<int64_t>(tensor.bytes.size())};
  }
  TensorData read(const std::string& name) const override {
    const auto found = tensors_.find(name);
    NIBBLE_CHECK(found != tensors_.end(), path_.string(), ": no tensor named \"", name, "\"");
    return found->second->at(name);
  }
  std::optional<Int8Matrix> read_int8(const std::string& name) const override {
    read(name);
    return std::nullopt;  // Hugging Face has no name for it: a quantized checkpoint's view knows it
  }

  std::optional<std::string> metadata(const std::string& key) const override {
    for (const auto& file : files_) {
      const auto found = file->metadata().find(key);
      if (found != file->metadata().end()) return found->second;
    }
    return std::nullopt;
  }

  std::string tokenizer_json() const override {
    NIBBLE_CHECK(path_exists(path_ / kTokenizer), "no tokenizer in \"", path_.string(),
                 "\": ", kTokenizer, " is not there");
    return read_text_file(path_ / kTokenizer);
  }

  std::optional<std::string> chat_template() const override {
    if (path_exists(path_ / kChatTemplate)) return read_text_file(path_ / kChatTemplate);
    const auto found = tokenizer_config_.find("chat_template");
    if (found == tokenizer_config_.end() || found->is_null()) return std::nullopt;
    if (found->is_string()) return found->get<std::string>();
    return default_template(*found);
  }

 private:
  void open_single_file() {
    const auto file = std::make_shared<SafetensorsFile>(path_ / kWeights);
    for (const std::string& name : file->names()) tensors_.emplace(name, file);
    files_.push_back(file);
  }

  void open_shards() {
    const fs::path index = path_ / kIndex;
    const json content = read_object(index);
    const auto weight_map = content.find("weight_map");
    NIBBLE_CHECK(weight_map != content.end() && weight_map->is_object(), index.string(),
                 ": \"weight_map\" is missing or not an object");
    std::map<fs::path, std::shared_ptr<const SafetensorsFile>> shards;
    for (const auto& [name, value] : weight_map->items()) {
      const fs::path file = shard_path(index, name, value);
      auto& shard = shards[file];
      if (shard == nullptr) {
        NIBBLE_CHECK(path_exists(file), index.string(), ": the shard ", file.filename().string(),
                     " is missing");
        shard = std::make_shared<SafetensorsFile>(file);
        files_.push_back(shard);
      }
      NIBBLE_CHECK(shard->contains(name), index.string(), ": tensor \"", name, "\" is not in ",
                   file.filename().string());
      tensors_.emplace(name, shard);
    }
  }

  /// Several named templates: [{"name": "default", "template": "..."}, ...].
  std::optional<std::string> default_template(const json& templates) const {
    const std::string where = (path_ / kTokenizerConfig).string() + ": chat_template";
    NIBBLE_CHECK(templates.is_array(), where, " is neither a string nor a list");
    for (const json& entry : templates) {
      const bool is_well_formed = entry.is_object() && entry.contains("name") &&
                                  entry.contains("template") && entry["template"].is_string();
      NIBBLE_CHECK(is_well_formed, where, " holds an entry without name and template");
      if (entry["name"] == "default") return entry["template"].get<std::string>();
    }
    fail(where, " lists no template named \"default\"");
  }

  fs::path path_;
  json config_, tokenizer_config_, generation_config_;
  std::map<std::string, std::shared_ptr<const SafetensorsFile>> tensors_;
  std::vector<std::shared_ptr<const SafetensorsFile>> files_;
};

}  // namespace

std::unique_ptr<Checkpoint> open_hf_checkpoint(const fs::path& path) {
  return std::make_unique<HfCheckpoint>(path);
}

}  // namespace nibble::io
