#pragma once

#include <nibble/models/decoder.h>
#include <nibble/models/registry.h>

#include <torch/torch.h>

#include <nlohmann/json.hpp>

#include <memory>

namespace nibble::models::testing {

/// config.json of a Llama of a few thousand parameters: 3 kv heads for 6, 2 layers.
inline nlohmann::json tiny_config() {
  return {{"architectures", {"LlamaForCausalLM"}},
          {"vocab_size", 61},
          {"hidden_size", 24},
          {"intermediate_size", 40},
          {"num_hidden_layers", 2},
          {"num_attention_heads", 6},
          {"num_key_value_heads", 3},
          {"max_position_embeddings", 64},
          {"rms_norm_eps", 1e-5},
          {"tie_word_embeddings", true},
          {"eos_token_id", 2},
          {"torch_dtype", "float32"}};
}

inline std::shared_ptr<DecoderLMImpl> tiny_model(const nlohmann::json& config = tiny_config(),
                                                 uint64_t seed = 7) {
  return std::dynamic_pointer_cast<DecoderLMImpl>(
      make_model(config, "config.json", random_parameters(0.3, seed, torch::kFloat)));
}

/// [batch, tokens] int64 of the tiny vocabulary.
inline torch::Tensor tiny_tokens(int64_t batch, int64_t tokens, uint64_t seed = 3) {
  return torch::randint(0, 61, {batch, tokens}, at::detail::createCPUGenerator(seed), torch::kLong);
}

/// Sets one key.
inline nlohmann::json with(nlohmann::json config, const char* key, nlohmann::json value) {
  config[key] = std::move(value);
  return config;
}

/// A Phi-3 whose rotation changes after 8 tokens.
inline nlohmann::json long_rope_config() {
  nlohmann::json config = with(tiny_config(), "architectures", {"Phi3ForCausalLM"});
  config["pad_token_id"] = nullptr;
  config["original_max_position_embeddings"] = 8;
  config["rope_scaling"] = {
      {"type", "longrope"}, {"short_factor", {1.0, 1.2}}, {"long_factor", {1.5, 4.0}}};
  return config;
}

}  // namespace nibble::models::testing
