#include "stored_names.h"

#include <nibble/core/error.h>

#include <optional>

namespace nibble::models {
namespace {

constexpr std::string_view kDecoder = "model.";
/// A parameter that every decoder has once.
constexpr std::string_view kAnchor = "layers.0.input_layernorm.weight";

/// What stands before the decoder's names; nothing where the checkpoint holds no decoder.
std::optional<std::string> find_prefix(const io::Checkpoint& checkpoint) {
  std::optional<std::string> prefix;
  for (const std::string& name : checkpoint.tensor_names()) {
    const bool is_anchor = name == kAnchor || name.ends_with("." + std::string(kAnchor));
    if (!is_anchor) continue;
    NIBBLE_CHECK(!prefix, checkpoint.path().string(), " holds several models: both \"", *prefix,
                 kAnchor, "\" and \"", name, "\" are there");
    prefix = name.substr(0, name.size() - kAnchor.size());
  }
  return prefix;
}

}  // namespace

StoredNames::StoredNames(const io::Checkpoint& checkpoint) {
  const std::optional<std::string> prefix = find_prefix(checkpoint);
  if (!prefix) return;
  decoder_ = *prefix;
  if (decoder_.ends_with("." + std::string(kDecoder))) {
    outer_ = decoder_.substr(0, decoder_.size() - kDecoder.size());
  }
  embedding_is_head_ = !checkpoint.contains(with_prefix(kEmbeddingName)) &&
                       checkpoint.contains(with_prefix(kHeadName));
}

std::string StoredNames::operator()(const std::string& name) const {
  return with_prefix(name == kEmbeddingName && embedding_is_head_ ? kHeadName : name);
}

std::string StoredNames::model_name(const std::string& stored) const {
  if (stored.starts_with(decoder_)) return std::string(kDecoder) + stored.substr(decoder_.size());
  return stored.starts_with(outer_) ? stored.substr(outer_.size()) : stored;
}

bool StoredNames::are_model_names() const {
  return decoder_ == kDecoder && outer_.empty() && !embedding_is_head_;
}

std::string StoredNames::with_prefix(std::string_view name) const {
  if (!name.starts_with(kDecoder)) return outer_ + std::string(name);
  return decoder_ + std::string(name.substr(kDecoder.size()));
}

}  // namespace nibble::models
