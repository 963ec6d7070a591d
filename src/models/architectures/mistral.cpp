#include <nibble/models/decoder.h>
#include <nibble/models/registry.h>

namespace nibble::models {

/// Llama with a sliding window. Source: transformers, models/mistral.
void add_mistral(ArchitectureMap& architectures) {
  architectures["MistralForCausalLM"] = [](const ConfigReader& reader,
                                           const ParameterSource& source) {
    ModelConfig config = parse_decoder_config(reader);
    config.attention_kinds.front().sliding_window = parse_sliding_window(reader, 4096);
    return std::make_shared<DecoderLMImpl>(config, reader.json(), source);
  };
}

}  // namespace nibble::models
