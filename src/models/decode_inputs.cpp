#include <nibble/models/decode_inputs.h>
#include <nibble/models/rope.h>

#include <ATen/Functions.h>

namespace nibble::models {

using at::Tensor;

std::vector<DecodeRotation> decode_rotations(const DecoderLMImpl& model, int64_t capacity) {
  const at::TensorOptions options = model.model->embed_tokens->output_options();
  const Tensor positions = at::arange(capacity, options.dtype(at::kLong)).unsqueeze(0);
  std::vector<DecodeRotation> rotations;
  for (const AttentionKind& kind : model.config().attention_kinds) {
    const RotaryTables tables =
        RotaryEmbedding(kind.rope).tables(positions, c10::typeMetaToScalarType(options.dtype()));
    const auto as_matrix = [&](const Tensor& table) {
      return table.view({capacity, -1}).contiguous();
    };
    rotations.push_back({as_matrix(tables.cos), as_matrix(tables.sin)});
  }
  return rotations;
}

ops::DecodeAttention decode_attention_of(const DecoderLMImpl& model, int64_t layer,
                                         const KVCache& cache,
                                         const std::vector<DecodeRotation>& rotations,
                                         const Tensor& position) {
  const ModelConfig& config = model.config();
  const auto index = static_cast<size_t>(layer);
  const size_t kind = config.layer_kinds[index];
  const auto& attention = *model.model->layers->ptr(index)->as<DecoderLayerImpl>()->self_attn;
  const auto [keys, values] = cache.layer(layer);
  ops::DecodeAttention inputs;
  inputs.key_cache = keys[0];
  inputs.value_cache = values[0];
  inputs.position = position;
  inputs.cos = rotations[kind].cos;
  inputs.sin = rotations[kind].sin;
  if (config.query_key_norm) {
    inputs.query_norm = attention.q_norm->weight.contiguous();
    inputs.key_norm = attention.k_norm->weight.contiguous();
    inputs.norm_eps = config.rms_norm_eps;
  }
  inputs.scale = attention.attention_scale();
  inputs.window = config.attention_kinds[kind].sliding_window;
  return inputs;
}

}  // namespace nibble::models
