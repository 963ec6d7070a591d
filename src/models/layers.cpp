#include <nibble/core/error.h>
#include <nibble/models/layers.h>
#include <nibble/ops/decoder.h>

#include <ATen/Functions.h>

namespace nibble::models {

using torch::Tensor;

nn::Linear make_linear(const ParameterSource& source, int64_t in_features, int64_t out_features,
                       bool with_bias) {
  const Tensor weight = source("weight", {out_features, in_features});
  return nn::Linear(weight, with_bias ? source("bias", {out_features}) : Tensor());
}

Tensor soft_cap(const Tensor& x, double cap) { return at::tanh(x / cap) * cap; }

RMSNormImpl::RMSNormImpl(int64_t size, double eps, double weight_offset,
                         const ParameterSource& source)
    : eps_(eps), weight_offset_(weight_offset) {
  weight = register_parameter("weight", source("weight", {size}));
}

void RMSNormImpl::reset() { weight = register_parameter("weight", at::empty_like(weight)); }

void RMSNormImpl::pretty_print(std::ostream& stream) const {
  stream << "nibble::models::RMSNorm(" << weight.size(0) << ", eps=" << eps_ << ")";
}

Tensor RMSNormImpl::forward(const Tensor& input) const {
  if (ops::runs_decoder_kernels(input) && input.scalar_type() == weight.scalar_type()) {
    return ops::rms_norm(input, weight, eps_, weight_offset_);
  }
  if (weight_offset_ == 0.0) return at::rms_norm(input, weight.sizes(), weight, eps_);
  // The sum would lose bits in a 16-bit dtype.
  const at::ScalarType wide = at::promote_types(input.scalar_type(), at::kFloat);
  return at::rms_norm(input.to(wide), weight.sizes(), weight.to(wide) + weight_offset_, eps_)
      .to(input.scalar_type());
}

RMSNorm make_norm(const ModelConfig& config, int64_t size, const ParameterSource& source) {
  return RMSNorm(size, config.rms_norm_eps, config.norm_weight_offset, source);
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
  if (config_.fused_projections) {
    gate_up_proj = add("gate_up_proj", hidden, 2 * inner);
  } else {
    gate_proj = add("gate_proj", hidden, inner);
    up_proj = add("up_proj", hidden, inner);
  }
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

/// activation(gate) * up.
Tensor gated(Activation activation, const Tensor& gate, const Tensor& up) {
  if (activation == Activation::kSilu && ops::runs_decoder_kernels(gate)) {
    return ops::swiglu(gate, up);
  }
  return activate(activation, gate) * up;
}

}  // namespace

std::pair<Tensor, Tensor> GatedMLPImpl::project(const nn::SharedInput& input) {
  if (config_.fused_projections) {
    const auto both = nn::LinearImpl::forward_together({gate_up_proj.get()}, input);
    const auto halves = both[0].chunk(2, -1);
    return {halves[0], halves[1]};
  }
  const auto both = nn::LinearImpl::forward_together({gate_proj.get(), up_proj.get()}, input);
  return {both[0], both[1]};
}

Tensor GatedMLPImpl::forward(const Tensor& input) {
  const auto [gate, up] = project(nn::SharedInput(input));
  return down_proj->forward(gated(config_.activation, gate, up));
}

}  // namespace nibble::models
