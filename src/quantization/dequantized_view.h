#pragma once

#include <nibble/io/checkpoint.h>
#include <nibble/nn/quantization_spec.h>

#include <nlohmann/json.hpp>

#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "layouts/layout.h"

namespace nibble {

/// The Checkpoint that dequantized_view() makes.
class DequantizedView final : public io::Checkpoint {
 public:
  explicit DequantizedView(std::unique_ptr<io::Checkpoint> stored);
  /// `checkpoint` itself. Throws Error when it is of another class.
  static const DequantizedView& of(const io::Checkpoint& checkpoint);

  const std::filesystem::path& path() const override { return stored_->path(); }
  const nlohmann::json& config() const override { return config_; }
  std::vector<std::string> tensor_names() const override;
  bool contains(const std::string& name) const override;
  io::StoredTensor stored(const std::string& name) const override;
  io::TensorData read(const std::string& name) const override;
  std::optional<io::Int8Matrix> read_int8(const std::string& name) const override;
  std::string tokenizer_json() const override { return stored_->tokenizer_json(); }
  std::optional<std::string> chat_template() const override { return stored_->chat_template(); }
  const nlohmann::json& tokenizer_config() const override { return stored_->tokenizer_config(); }
  const nlohmann::json& generation_config() const override { return stored_->generation_config(); }

  /// Paths of the quantized Linears.
  const std::set<std::string>& linears() const { return linears_; }
  /// Names of the other tensors.
  const std::set<std::string>& plain() const { return plain_; }
  /// Paths of the Linears in full precision, as the quantization_config lists them.
  const std::vector<std::string>& kept() const { return kept_; }
  /// The spec of all Linears; its scale dtype is that of the first one.
  nn::QuantizationSpec spec() const { return linear(*linears_.begin()).first; }
  /// The stored tensors of one Linear, and the spec with its scale dtype.
  std::pair<nn::QuantizationSpec, layouts::QuantizedTensors> linear(const std::string& path) const;

 private:
  void find_quantized();
  bool belongs_to_linear(const std::string& name, const std::vector<std::string>& suffixes) const;
  bool is_embedding_scale(const std::string& name) const;
  io::TensorData dequantize_linear(const std::string& path) const;

  std::unique_ptr<io::Checkpoint> stored_;
  nlohmann::json config_;
  std::unique_ptr<layouts::Layout> layout_;
  nn::QuantizationSpec spec_;
  std::set<std::string> linears_;
  std::set<std::string> plain_;
  std::vector<std::string> kept_;
};

}  // namespace nibble
