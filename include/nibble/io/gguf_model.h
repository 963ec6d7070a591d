#pragma once

#include <nibble/io/checkpoint.h>
#include <nibble/io/gguf_writer.h>
#include <nibble/io/tensor_data.h>

#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace nibble::io {

struct GgufArchitecture;

/// How a Hugging Face decoder lies in a GGUF file: names, row order, metadata.
class GgufModel {
 public:
  /// From a config.json. Throws Error naming the key for what llama.cpp's graph of that
  /// architecture cannot compute: another activation, an attention window, a class without a
  /// counterpart. `origin` names the file in messages.
  GgufModel(const nlohmann::json& config, const std::string& origin);

  /// Throws Error for a tensor that GGUF has no name for.
  std::string tensor_name(const std::string& hugging_face_name) const;
  /// Row i in the file is row `order[i]` of the Hugging Face tensor; empty: rows stay.
  std::vector<int64_t> row_order(const std::string& hugging_face_name, int64_t rows) const;
  /// What Llama 3's rotary frequencies are divided by, stored as kRopeFrequencies; empty for
  /// others.
  const std::vector<float>& rope_divisors() const { return rope_divisors_; }
  /// Architecture and sizes. `file_type` is llama.cpp's enum llama_ftype.
  const std::vector<GgufEntry>& metadata() const { return metadata_; }
  int64_t vocab_size() const { return vocab_size_; }

  static constexpr const char* kRopeFrequencies = "rope_freqs.weight";

 private:
  class Config;
  void add_metadata(const Config& config);
  void add_rope(const Config& config);

  const GgufArchitecture* architecture_;
  std::string origin_;
  int64_t heads_ = 0, kv_heads_ = 0, head_dim_ = 0, vocab_size_ = 0;
  std::vector<float> rope_divisors_;
  std::vector<GgufEntry> metadata_;
};

/// The tokenizer and chat template of `text` as metadata, padded to `vocab_size` tokens. Throws
/// Error for a tokenizer that is not a byte-level BPE, or that cuts text in a way that GGUF has no
/// name for (the ids would silently differ).
std::vector<GgufEntry> gguf_tokenizer_metadata(const Checkpoint& text, int64_t vocab_size);

}  // namespace nibble::io
