#include <nibble/models/model_names_view.h>

#include <nlohmann/json.hpp>

#include <utility>

#include "stored_names.h"

namespace nibble::models {
namespace {

class ModelNamesView final : public io::Checkpoint {
 public:
  ModelNamesView(std::unique_ptr<io::Checkpoint> stored, StoredNames stored_name)
      : stored_(std::move(stored)), stored_name_(std::move(stored_name)) {}

  std::vector<std::string> tensor_names() const override {
    std::vector<std::string> names = stored_->tensor_names();
    for (std::string& name : names) name = stored_name_.model_name(name);
    return names;
  }
  bool contains(const std::string& name) const override {
    return stored_->contains(stored_name_(name));
  }
  io::StoredTensor stored(const std::string& name) const override {
    return stored_->stored(stored_name_(name));
  }
  io::TensorData read(const std::string& name) const override {
    return stored_->read(stored_name_(name));
  }
  std::optional<io::Int8Matrix> read_int8(const std::string& name) const override {
    return stored_->read_int8(stored_name_(name));
  }

  const std::filesystem::path& path() const override { return stored_->path(); }
  const nlohmann::json& config() const override { return stored_->config(); }
  std::string tokenizer_json() const override { return stored_->tokenizer_json(); }
  std::optional<std::string> chat_template() const override { return stored_->chat_template(); }
  const nlohmann::json& tokenizer_config() const override { return stored_->tokenizer_config(); }
  const nlohmann::json& generation_config() const override { return stored_->generation_config(); }

 private:
  std::unique_ptr<io::Checkpoint> stored_;
  StoredNames stored_name_;
};

}  // namespace

std::unique_ptr<io::Checkpoint> with_model_names(std::unique_ptr<io::Checkpoint> checkpoint) {
  StoredNames stored_name(*checkpoint);
  if (stored_name.are_model_names()) return checkpoint;
  return std::make_unique<ModelNamesView>(std::move(checkpoint), std::move(stored_name));
}

}  // namespace nibble::models
