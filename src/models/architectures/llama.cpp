#include <nibble/models/decoder.h>
#include <nibble/models/registry.h>

namespace nibble::models {

/// Llama 1 to 3.2, SmolLM2 and whatever else says LlamaForCausalLM. Source: transformers,
/// models/llama.
void add_llama(ArchitectureMap& architectures) {
  architectures["LlamaForCausalLM"] = [](const ConfigReader& reader,
                                         const ParameterSource& source) {
    ModelConfig config = parse_decoder_config(reader);
    config.qkv_bias = reader.boolean_or("attention_bias", false);
    config.attention_output_bias = config.qkv_bias;
    config.mlp_bias = reader.boolean_or("mlp_bias", false);
    return std::make_shared<DecoderLMImpl>(config, reader.json(), source);
  };
}

}  // namespace nibble::models
