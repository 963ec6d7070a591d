#include <nibble/core/error.h>
#include <nibble/models/decoder.h>
#include <nibble/models/registry.h>

#include <nlohmann/json.hpp>

namespace nibble::models {
namespace {

constexpr ConfigDefaults kPhi3Defaults = {.max_position_embeddings = 4096,
                                          .rms_norm_eps = 1e-5,
                                          .original_max_position_embeddings = 4096,
                                          .partial_rotary = true,
                                          .pad_token_id = 32000};

/// What the configuration class knows and no published checkpoint uses.
void refuse_unused_options(const ConfigReader& reader) {
  for (const char* key : {"resid_pdrop", "embd_pdrop"}) {
    if (reader.has(key) && reader.json()[key] != 0) reader.reject(key, "it must be 0");
  }
  for (const char* key : {"attention_bias", "mlp_bias", "lm_head_bias"}) {
    if (reader.boolean_or(key, false)) reader.reject(key, "it must be false");
  }
}

}  // namespace

/// Phi-3, Phi-3.5 and Phi-4-mini: q, k, v in one projection and gate and up in another, LongRoPE,
/// in Phi-4-mini a part of each head rotated. Source: transformers, models/phi3.
void add_phi3(ArchitectureMap& architectures) {
  architectures["Phi3ForCausalLM"] = [](const ConfigReader& reader, const ParameterSource& source) {
    refuse_unused_options(reader);
    ModelConfig config = parse_decoder_config(reader, kPhi3Defaults);
    config.fused_projections = true;
    config.attention_kinds.front().sliding_window = parse_sliding_window(reader, std::nullopt);
    return std::make_shared<DecoderLMImpl>(config, reader.json(), source);
  };
}

}  // namespace nibble::models
