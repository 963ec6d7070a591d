#pragma once

#include <nibble/io/int8_matrix.h>
#include <nibble/io/tensor_data.h>

#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace nibble::io {

/// A tensor as its file describes it.
struct StoredTensor {
  std::string type;  ///< "BF16", "Q4_K", ...
  std::vector<int64_t> shape;
  int64_t bytes = 0;
};

/// A model on disk, whatever its format, seen as a Hugging Face checkpoint: config.json keys,
/// Hugging Face tensor names and layouts, tokenizer.json, chat template.
class Checkpoint {
 public:
  virtual ~Checkpoint() = default;

  /// Where it was opened, for messages.
  virtual const std::filesystem::path& path() const = 0;
  /// The content of config.json. For GGUF it is put together from the file's metadata.
  virtual const nlohmann::json& config() const = 0;
  /// All tensor names, Hugging Face style ("model.layers.0.self_attn.q_proj.weight").
  virtual std::vector<std::string> tensor_names() const = 0;
  virtual bool contains(const std::string& name) const = 0;
  /// How a tensor is stored, without reading it; of a quantized one its codes. Throws Error for an
  /// unknown name.
  virtual StoredTensor stored(const std::string& name) const = 0;
  /// One tensor in its stored dtype (GGUF's quantized types are dequantized to F32, rotary rows are
  /// put back in Hugging Face order). Throws Error for an unknown name.
  virtual TensorData read(const std::string& name) const = 0;
  /// The integers behind read() where the file keeps a matrix as int8 (GGUF's Q8_0); nothing for
  /// any other tensor. Throws Error for an unknown name.
  virtual std::optional<Int8Matrix> read_int8(const std::string& name) const = 0;
  /// The text of tokenizer.json; for GGUF an equivalent one. Throws Error where there is none.
  virtual std::string tokenizer_json() const = 0;
  /// The chat template's Jinja source (chat_template.jinja, else tokenizer_config.json, else
  /// GGUF's).
  virtual std::optional<std::string> chat_template() const = 0;
  /// tokenizer_config.json (bos_token, eos_token, ...); an empty object where there is none.
  /// Special tokens given as {"content": ...} objects are reduced to their string.
  virtual const nlohmann::json& tokenizer_config() const = 0;
  /// generation_config.json; an empty object where there is none.
  virtual const nlohmann::json& generation_config() const = 0;
};

/// Opens a Hugging Face directory (config.json with model.safetensors or a sharded
/// model.safetensors.index.json), a .gguf file, or by the hub's name ("owner/name",
/// "owner/name@revision") what the local Hugging Face cache holds ($HF_HUB_CACHE, $HF_HOME/hub,
/// ~/.cache/huggingface/hub). What exists on the disk under `path` comes first; nothing is
/// downloaded. Throws Error that names what is missing, with the command that downloads it.
std::unique_ptr<Checkpoint> open_checkpoint(const std::filesystem::path& path);

}  // namespace nibble::io
