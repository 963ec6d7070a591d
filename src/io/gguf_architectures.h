#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace nibble::io {

/// A decoder that GGUF names by `general.architecture` and Hugging Face by a class.
struct GgufArchitecture {
  std::string_view name;        ///< "llama"; also the prefix of its metadata keys
  std::string_view class_name;  ///< "LlamaForCausalLM"
  std::string_view model_type;  ///< of config.json
  /// The rows of q and k stand as interleaved rotary pairs in GGUF, as two halves in Hugging Face.
  bool interleaves_rotary_rows;
  bool has_query_key_norm;
};

/// nullptr where the architecture is not supported.
const GgufArchitecture* find_gguf_architecture(std::string_view name);
/// The architecture that a model of this class is stored as.
const GgufArchitecture* gguf_architecture_of_class(std::string_view class_name);
/// "llama, qwen2, ...".
std::string supported_gguf_architectures();

/// "blk.3.attn_q.weight" -> "model.layers.3.self_attn.q_proj.weight"; nothing for a name that a
/// model of this architecture and so many layers does not have.
std::optional<std::string> hugging_face_name(const GgufArchitecture& architecture,
                                             std::string_view gguf_name, int64_t layers);
/// The inverse.
std::optional<std::string> gguf_name(const GgufArchitecture& architecture,
                                     std::string_view hugging_face_name);

}  // namespace nibble::io
