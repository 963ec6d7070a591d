#include <nibble/core/error.h>
#include <nibble/models/layers.h>

#include <ATen/Functions.h>

namespace nibble::models {

using torch::Tensor;

nn::Linear make_linear(const ParameterSource& source, int64_t in_features, int64_t out_features,
                       bool with_bias) {
  const Tensor weight = source("weight", {out_features, in_features});
  return nn::Linear(weight, with_bias ? source("bias", {out_features}) : Tensor());
}

EmbeddingImpl::EmbeddingImpl(int64_t vocab_size, int64_t hidden_size,
                             std::optional<int64_t> padding_id, const ParameterSource& source)
    : padding_id_(padding_id) {
  weight = register_parameter("weight", source("weight", {vocab_size, hidden_size}));
}

void EmbeddingImpl::reset() { weight = register_parameter("weight", at::empty_like(weight)); }

void EmbeddingImpl::pretty_print(std::ostream& stream) const {
  stream << "nibble::models::Embedding(" << weight.size(0) << ", " << weight.size(1) << ")";
}

Tensor EmbeddingImpl::forward(const Tensor& token_ids) const {
  if (token_ids.is_cpu() && token_ids.numel() > 0) {
    const auto [lowest, highest] = at::aminmax(token_ids);
    NIBBLE_CHECK(lowest.item<int64_t>() >= 0 && highest.item<int64_t>() < weight.size(0),
                 "token ids run from ", lowest.item<int64_t>(), " to ", highest.item<int64_t>(),
                 ", the model's vocabulary from 0 to ", weight.size(0) - 1);
  }
  constexpr int64_t kNoPadding = -1;
  return at::embedding(weight, token_ids, padding_id_.value_or(kNoPadding));
}

RMSNormImpl::RMSNormImpl(int64_t size, double eps, const ParameterSource& source) : eps_(eps) {
  weight = register_parameter("weight", source("weight", {size}));
}

void RMSNormImpl::reset() { weight = register_parameter("weight", at::empty_like(weight)); }

void RMSNormImpl::pretty_print(std::ostream& stream) const {
  stream << "nibble::models::RMSNorm(" << weight.size(0) << ", eps=" << eps_ << ")";
}

Tensor RMSNormImpl::forward(const Tensor& input) const {
  return at::rms_norm(input, weight.sizes(), weight, eps_);
}

GatedMLPImpl::GatedMLPImpl(const ModelConfig& config, const ParameterSource& source)
    : config_(config) {
  build(source);
}

void GatedMLPImpl::reset() { build(meta_parameters()); }

void GatedMLPImpl::build(const ParameterSource& source) {
  const int64_t hidden = config_.hidden_size;
  const int64_t inner = config_.intermediate_size;
  const auto add = [&](const char* name, int64_t in_features, int64_t out_features) {
    return register_module(
        name, make_linear(source.child(name), in_features, out_features, config_.mlp_bias));
  };
  gate_proj = add("gate_proj", hidden, inner);
  up_proj = add("up_proj", hidden, inner);
  down_proj = add("down_proj", inner, hidden);
}

namespace {

Tensor activate(Activation activation, const Tensor& x) {
  switch (activation) {
    case Activation::kSilu:
      return at::silu(x);
    case Activation::kGelu:
      return at::gelu(x);
    case Activation::kGeluTanh:
      return at::gelu(x, "tanh");
    case Activation::kRelu:
      return at::relu(x);
  }
  fail("no such activation");
}

}  // namespace

Tensor GatedMLPImpl::forward(const Tensor& input) {
  const nn::SharedInput shared(input);
  const Tensor gate = activate(config_.activation, gate_proj->forward_shared(shared));
  return down_proj->forward(gate * up_proj->forward_shared(shared));
}

}  // namespace nibble::models
