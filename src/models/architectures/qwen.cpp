#include <nibble/models/decoder.h>
#include <nibble/models/registry.h>

namespace nibble::models {
namespace {

constexpr int64_t kMaxLayer = 4096;

ModelConfig parse_qwen_config(const ConfigReader& reader) {
  ModelConfig config = parse_decoder_config(reader);
  if (!reader.boolean_or("use_sliding_window", false)) return config;
  AttentionKind sliding = config.attention_kinds.front();
  sliding.sliding_window = parse_sliding_window(reader, 4096);
  const int64_t first = reader.count_or("max_window_layers", kMaxLayer, 28);
  set_sliding_layers(config, reader, sliding, [first](int64_t layer) { return layer >= first; });
  return config;
}

}  // namespace

/// Qwen 2 and 2.5 (biases on q, k, v), Qwen 3 (norms on q and k). Source: transformers,
/// models/qwen2 and models/qwen3.
void add_qwen(ArchitectureMap& architectures) {
  architectures["Qwen2ForCausalLM"] = [](const ConfigReader& reader,
                                         const ParameterSource& source) {
    ModelConfig config = parse_qwen_config(reader);
    config.qkv_bias = true;
    return std::make_shared<DecoderLMImpl>(config, reader.json(), source);
  };
  architectures["Qwen3ForCausalLM"] = [](const ConfigReader& reader,
                                         const ParameterSource& source) {
    ModelConfig config = parse_qwen_config(reader);
    config.query_key_norm = true;
    config.qkv_bias = reader.boolean_or("attention_bias", false);
    config.attention_output_bias = config.qkv_bias;
    return std::make_shared<DecoderLMImpl>(config, reader.json(), source);
  };
}

}  // namespace nibble::models
