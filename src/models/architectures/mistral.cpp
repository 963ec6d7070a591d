#include <nibble/models/decoder.h>
#include <nibble/models/registry.h>

#include <nlohmann/json.hpp>

namespace nibble::models {

/// Llama with a sliding window. Source: transformers, models/mistral.
void add_mistral(ArchitectureMap& architectures) {
  architectures["MistralForCausalLM"] = [](const ConfigReader& reader,
                                           const ParameterSource& source) {
    constexpr int64_t kMaxWindow = int64_t{1} << 30;
    ModelConfig config = parse_decoder_config(reader);
    if (reader.has("sliding_window")) {
      config.sliding_window = reader.size("sliding_window", kMaxWindow);
    } else if (!reader.json().contains("sliding_window")) {
      config.sliding_window = 4096;  // only an explicit null turns the window off
    }
    return std::make_shared<DecoderLMImpl>(config, reader.json(), source);
  };
}

}  // namespace nibble::models
