#include <nibble/core/error.h>
#include <nibble/models/decode_plan.h>
#include <nibble/models/decode_step.h>
#include <nibble/ops/decoder.h>
#include <nibble/ops/token_stages.h>

#include <ATen/Functions.h>

#include <algorithm>
#include <utility>

namespace nibble::models {
namespace {

using at::Tensor;
using ops::StoredInt4;
using ops::TokenInput;
using ops::TokenProduct;

StoredInt4 stored(const nn::LinearImpl& linear) {
  return {linear.packed_weight, linear.scales, linear.zeros, linear.bias};
}

/// What a layer multiplies one input with.
std::vector<const nn::LinearImpl*> query_key_value(const AttentionImpl& attention) {
  if (!attention.qkv_proj.is_empty()) return {attention.qkv_proj.get()};
  return {attention.q_proj.get(), attention.k_proj.get(), attention.v_proj.get()};
}
std::vector<const nn::LinearImpl*> gate_and_up(const GatedMLPImpl& mlp) {
  if (!mlp.gate_up_proj.is_empty()) return {mlp.gate_up_proj.get()};
  return {mlp.gate_proj.get(), mlp.up_proj.get()};
}

std::vector<const nn::LinearImpl*> linears_of(const DecoderLayerImpl& layer) {
  std::vector<const nn::LinearImpl*> linears = query_key_value(*layer.self_attn);
  for (const nn::LinearImpl* linear : gate_and_up(*layer.mlp)) linears.push_back(linear);
  linears.push_back(layer.self_attn->o_proj.get());
  linears.push_back(layer.mlp->down_proj.get());
  return linears;
}

/// A token that `linear` reads.
TokenInput input_of(const nn::LinearImpl& linear) {
  return {linear.options.in_features(),
          linear.scales.options().dtype(linear.compute_dtype()).requires_grad(false),
          linear.spec()->quantizes_activations()};
}

bool takes(const nn::LinearImpl& linear, at::ScalarType dtype, const nn::QuantizationSpec& spec) {
  return linear.state() == nn::LinearState::kQuantized && linear.compute_dtype() == dtype &&
         linear.spec() == spec && TokenProduct::takes(stored(linear), input_of(linear));
}

bool norms_are(const DecoderLayerImpl& layer, at::ScalarType dtype) {
  const auto is_one = [&](const RMSNorm& norm) { return norm->weight.scalar_type() == dtype; };
  const AttentionImpl& attention = *layer.self_attn;
  return is_one(layer.input_layernorm) && is_one(layer.post_attention_layernorm) &&
         (attention.q_norm.is_empty() || (is_one(attention.q_norm) && is_one(attention.k_norm)));
}

bool takes_all(const DecoderLMImpl& model, at::ScalarType dtype) {
  return std::all_of(
      model.model->layers->begin(), model.model->layers->end(), [&](const auto& module) {
        const auto& layer = *module->template as<DecoderLayerImpl>();
        const auto spec = layer.mlp->down_proj->spec();
        const auto linears = linears_of(layer);
        return spec && norms_are(layer, dtype) &&
               std::all_of(linears.begin(), linears.end(),
                           [&](const auto* linear) { return takes(*linear, dtype, *spec); });
      });
}

DecoderLMImpl& decoder(CausalLMImpl& model) {
  const auto refusal = DecodePlan::refusal(model);
  NIBBLE_CHECK(!refusal, "this model cannot be decoded by a plan: ", *refusal);
  return dynamic_cast<DecoderLMImpl&>(model);
}

/// Products of one input whose outputs lie one behind the other in `output`.
std::vector<TokenProduct> products(const std::vector<const nn::LinearImpl*>& linears,
                                   const TokenInput& input, const Tensor& output) {
  std::vector<TokenProduct> all;
  int64_t begin = 0;
  for (const nn::LinearImpl* linear : linears) {
    const int64_t rows = linear->options.out_features();
    all.emplace_back(stored(*linear), input, output.narrow(0, begin, rows));
    begin += rows;
  }
  return all;
}

}  // namespace

std::optional<std::string> DecodePlan::refusal(const CausalLMImpl& model) {
  if (auto reason = DecodeStep::refusal(model)) return reason;
  const auto& decoder = dynamic_cast<const DecoderLMImpl&>(model);
  const at::TensorOptions options = decoder.model->embed_tokens->output_options();
  if (!options.device().is_cpu()) return "it is not on the CPU";
  if (!ops::can_run_single_query_attention(model.config().head_dim)) {
    return "its heads are not of a multiple of 16";
  }
  if (!takes_all(decoder, c10::typeMetaToScalarType(options.dtype()))) {
    return "not all Linears of its layers are converted to int4, and they and the norms in one "
           "dtype";
  }
  return std::nullopt;
}

DecodePlan::DecodePlan(CausalLMImpl& model, KVCache& cache)
    : model_(decoder(model)),
      cache_(cache),
      capacity_(cache.capacity()),
      position_(at::zeros({1}, at::kLong)) {
  NIBBLE_CHECK(cache.batch() == 1, "a decode plan is for a cache of one row, this one has ",
               cache.batch());
  hidden_ = buffer(model.config().hidden_size);
  update_ = at::empty_like(hidden_);
  const auto rotations = decode_rotations(model_, capacity_);
  DecoderImpl& layers = *model_.model;
  for (size_t i = 0; i < layers.layers->size(); ++i) {
    add_attention(static_cast<int64_t>(i), rotations);
    add_mlp(*layers.layers[i]->as<DecoderLayerImpl>());
  }
}

Tensor DecodePlan::buffer(int64_t features) const {
  return at::empty({features}, model_.model->embed_tokens->output_options());
}

void DecodePlan::add_attention(int64_t layer, const std::vector<DecodeRotation>& rotations) {
  const ModelConfig& config = model_.config();
  auto& module = *model_.model->layers[static_cast<size_t>(layer)]->as<DecoderLayerImpl>();
  AttentionImpl& attention = *module.self_attn;
  const TokenInput normed = input_of(*query_key_value(attention).front());
  const TokenInput attended = input_of(*attention.o_proj);
  const Tensor projected = buffer((config.num_heads + 2 * config.num_kv_heads) * config.head_dim);
  const auto heads =
      projected.view({-1, config.head_dim})
          .split_with_sizes({config.num_heads, config.num_kv_heads, config.num_kv_heads});
  ops::DecodeAttention inputs = decode_attention_of(model_, layer, cache_, rotations, position_);
  inputs.query = heads[0];
  inputs.key = heads[1];
  inputs.value = heads[2];

  stages_.push_back(
      ops::norm_stage(hidden_, module.input_layernorm->weight, config.rms_norm_eps, normed));
  stages_.push_back(ops::product_stage(products(query_key_value(attention), normed, projected)));
  const Tensor output = attended.value.view({config.num_heads, config.head_dim});
  for (ops::Stage& stage : ops::attention_stages(inputs, output)) {
    stages_.push_back(std::move(stage));
  }
  if (attended.quantizes()) stages_.push_back(ops::quantize_stage(attended));
  stages_.push_back(ops::residual_stage(hidden_, {stored(*attention.o_proj), attended, update_}));
}

void DecodePlan::add_mlp(DecoderLayerImpl& layer) {
  const ModelConfig& config = model_.config();
  const int64_t inner = config.intermediate_size;
  GatedMLPImpl& mlp = *layer.mlp;
  const TokenInput normed = input_of(*gate_and_up(mlp).front());
  const TokenInput gated = input_of(*mlp.down_proj);
  const auto half = [&](const nn::Linear& alone, int64_t begin) {
    return alone.is_empty() ? stored(*mlp.gate_up_proj).rows(begin, inner) : stored(*alone);
  };
  stages_.push_back(ops::norm_stage(hidden_, layer.post_attention_layernorm->weight,
                                    config.rms_norm_eps, normed));
  stages_.push_back(ops::gated_silu_stage({half(mlp.gate_proj, 0), normed, buffer(inner)},
                                          {half(mlp.up_proj, inner), normed, buffer(inner)},
                                          gated.value));
  if (gated.quantizes()) stages_.push_back(ops::quantize_stage(gated));
  stages_.push_back(ops::residual_stage(hidden_, {stored(*mlp.down_proj), gated, update_}));
}

Tensor DecodePlan::logits(int64_t token) {
  NIBBLE_CHECK(ops::runs_decoder_kernels(hidden_),
               "a decode plan is for inference: turn gradients and autocast off");
  NIBBLE_CHECK(cache_.capacity() == capacity_, "the KV cache of a decode plan has grown from ",
               capacity_, " to ", cache_.capacity(), " tokens: make a plan for it");
  NIBBLE_CHECK(cache_.length() < capacity_, "the KV cache is full at ", capacity_, " tokens");
  position_.fill_(cache_.length());
  hidden_.copy_(model_.model->embed_tokens->forward(at::full({1}, token, at::kLong))[0]);
  ops::run_stages(stages_);
  cache_.advance(1);
  return model_.logits(model_.model->norm->forward(hidden_));
}

}  // namespace nibble::models
