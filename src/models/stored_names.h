#pragma once

#include <nibble/io/checkpoint.h>

#include <string>
#include <string_view>

namespace nibble::models {

inline constexpr std::string_view kEmbeddingName = "model.embed_tokens.weight";
inline constexpr std::string_view kHeadName = "lm_head.weight";

/// Where a checkpoint stores the parameters of a model. Tools that save a part of a larger module,
/// or a wrapper around the model, put another prefix before the decoder's names than "model.":
/// none ("layers.0..."), "language_model.model.", "_orig_mod.model.", ...
class StoredNames {
 public:
  explicit StoredNames(const io::Checkpoint& checkpoint);

  /// The stored name of the parameter with the full Hugging Face name `name`, whether the
  /// checkpoint has it or not. A tied embedding may be stored as lm_head only.
  std::string operator()(const std::string& name) const;

  /// The full Hugging Face name of what is stored as `stored`; a head that stands for the tied
  /// embedding too keeps its own.
  std::string model_name(const std::string& stored) const;
  /// Whether every parameter is stored under its full Hugging Face name.
  bool are_model_names() const;

 private:
  std::string with_prefix(std::string_view name) const;

  std::string decoder_ = "model.";  // stands before the names of the decoder's parameters
  std::string outer_;               // and before the others
  bool embedding_is_head_ = false;
};

}  // namespace nibble::models
