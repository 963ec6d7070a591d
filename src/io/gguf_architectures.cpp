#include "gguf_architectures.h"

#include <array>
#include <charconv>

namespace nibble::io {
namespace {

constexpr std::array kArchitectures = {
    GgufArchitecture{"llama", "LlamaForCausalLM", "llama", true, false},
    GgufArchitecture{"qwen2", "Qwen2ForCausalLM", "qwen2", false, false},
    GgufArchitecture{"qwen3", "Qwen3ForCausalLM", "qwen3", false, true},
    // Stored as llama, whose graph has no attention window; looked up by class only.
    GgufArchitecture{"llama", "MistralForCausalLM", "llama", true, false},
};

enum class Kind { kNorm, kQueryKeyNorm, kLinear };

struct NamePair {
  std::string_view gguf, hugging_face;
  Kind kind = Kind::kNorm;
};

constexpr std::array kTopNames = {
    NamePair{"token_embd", "model.embed_tokens"},
    NamePair{"output_norm", "model.norm"},
    NamePair{"output", "lm_head"},
};
constexpr std::array kLayerNames = {
    NamePair{"attn_norm", "input_layernorm"},
    NamePair{"ffn_norm", "post_attention_layernorm"},
    NamePair{"attn_q_norm", "self_attn.q_norm", Kind::kQueryKeyNorm},
    NamePair{"attn_k_norm", "self_attn.k_norm", Kind::kQueryKeyNorm},
    NamePair{"attn_q", "self_attn.q_proj", Kind::kLinear},
    NamePair{"attn_k", "self_attn.k_proj", Kind::kLinear},
    NamePair{"attn_v", "self_attn.v_proj", Kind::kLinear},
    NamePair{"attn_output", "self_attn.o_proj", Kind::kLinear},
    NamePair{"ffn_gate", "mlp.gate_proj", Kind::kLinear},
    NamePair{"ffn_up", "mlp.up_proj", Kind::kLinear},
    NamePair{"ffn_down", "mlp.down_proj", Kind::kLinear},
};
constexpr std::string_view kGgufLayers = "blk.";
constexpr std::string_view kHuggingFaceLayers = "model.layers.";

bool has(const GgufArchitecture& architecture, const NamePair& pair, std::string_view suffix) {
  if (suffix == ".bias") return pair.kind == Kind::kLinear;
  return suffix == ".weight" &&
         (pair.kind != Kind::kQueryKeyNorm || architecture.has_query_key_norm);
}

/// "12" and "0", not "012": each tensor has one name only.
std::optional<int64_t> parse_layer(std::string_view text) {
  int64_t layer = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), layer);
  if (error != std::errc() || layer < 0 || std::to_string(layer) != text) return std::nullopt;
  return layer;
}

/// A name in parts: "blk.3.attn_q.weight" is layer 3, stem "attn_q", suffix ".weight".
struct Parts {
  std::optional<int64_t> layer;
  std::string_view stem, suffix;
};

std::optional<Parts> split(std::string_view name, std::string_view layers_prefix) {
  Parts parts;
  const size_t last_dot = name.rfind('.');
  if (last_dot == std::string_view::npos) return std::nullopt;
  parts.suffix = name.substr(last_dot);
  parts.stem = name.substr(0, last_dot);
  if (!parts.stem.starts_with(layers_prefix)) return parts;
  parts.stem.remove_prefix(layers_prefix.size());
  const size_t dot = parts.stem.find('.');
  if (dot == std::string_view::npos) return std::nullopt;
  parts.layer = parse_layer(parts.stem.substr(0, dot));
  if (!parts.layer) return std::nullopt;
  parts.stem.remove_prefix(dot + 1);
  return parts;
}

/// The name of `parts` in the other convention: members `from` and `to` of the pairs.
std::optional<std::string> translate(const GgufArchitecture& architecture, const Parts& parts,
                                     std::string_view NamePair::*from,
                                     std::string_view NamePair::*to, std::string_view layers) {
  if (!parts.layer) {
    for (const NamePair& pair : kTopNames) {
      if (pair.*from == parts.stem && has(architecture, pair, parts.suffix)) {
        return std::string(pair.*to) + std::string(parts.suffix);
      }
    }
    return std::nullopt;
  }
  for (const NamePair& pair : kLayerNames) {
    if (pair.*from == parts.stem && has(architecture, pair, parts.suffix)) {
      return std::string(layers) + std::to_string(*parts.layer) + "." + std::string(pair.*to) +
             std::string(parts.suffix);
    }
  }
  return std::nullopt;
}

}  // namespace

const GgufArchitecture* find_gguf_architecture(std::string_view name) {
  for (const GgufArchitecture& candidate : kArchitectures) {
    if (candidate.name == name) return &candidate;
  }
  return nullptr;
}

const GgufArchitecture* gguf_architecture_of_class(std::string_view class_name) {
  for (const GgufArchitecture& candidate : kArchitectures) {
    if (candidate.class_name == class_name) return &candidate;
  }
  return nullptr;
}

std::string supported_gguf_architectures() {
  std::string names;
  for (const GgufArchitecture& candidate : kArchitectures) {
    if (&candidate != find_gguf_architecture(candidate.name)) continue;
    names += (names.empty() ? "" : ", ") + std::string(candidate.name);
  }
  return names;
}

std::optional<std::string> hugging_face_name(const GgufArchitecture& architecture,
                                             std::string_view name, int64_t layers) {
  const std::optional<Parts> parts = split(name, kGgufLayers);
  if (!parts || (parts->layer && *parts->layer >= layers)) return std::nullopt;
  return translate(architecture, *parts, &NamePair::gguf, &NamePair::hugging_face,
                   kHuggingFaceLayers);
}

std::optional<std::string> gguf_name(const GgufArchitecture& architecture, std::string_view name) {
  const std::optional<Parts> parts = split(name, kHuggingFaceLayers);
  if (!parts) return std::nullopt;
  return translate(architecture, *parts, &NamePair::hugging_face, &NamePair::gguf, kGgufLayers);
}

}  // namespace nibble::io
