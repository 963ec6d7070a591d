#pragma once

#include <nibble/models/config.h>
#include <nibble/models/parameter_source.h>
#include <nibble/nn/linear.h>

#include <torch/nn/cloneable.h>
#include <torch/nn/pimpl.h>

#include <optional>
#include <ostream>
#include <utility>

namespace nibble::models {

/// A Linear [out, in] with the parameters `weight` and, if `with_bias`, `bias` of `source`.
nn::Linear make_linear(const ParameterSource& source, int64_t in_features, int64_t out_features,
                       bool with_bias);

/// cap * tanh(x / cap): x where it is small, never beyond -cap and cap.
at::Tensor soft_cap(const at::Tensor& x, double cap);

/// y = x / sqrt(mean(x^2) + eps) * (weight_offset + weight) over the last dimension, in float32
/// (float64 stays), rounded once to the dtype of x.
class RMSNormImpl : public torch::nn::Cloneable<RMSNormImpl> {
 public:
  RMSNormImpl(int64_t size, double eps, double weight_offset, const ParameterSource& source);
  void reset() override;
  void pretty_print(std::ostream& stream) const override;

  torch::Tensor forward(const torch::Tensor& input) const;

  torch::Tensor weight;  ///< [size]

 private:
  double eps_;
  double weight_offset_;
};
TORCH_MODULE(RMSNorm);

/// A norm over `size` elements as `config` wants it.
RMSNorm make_norm(const ModelConfig& config, int64_t size, const ParameterSource& source);

/// The gated feed-forward block: down(activation(gate(x)) * up(x)).
class GatedMLPImpl : public torch::nn::Cloneable<GatedMLPImpl> {
 public:
  GatedMLPImpl(const ModelConfig& config, const ParameterSource& source);
  void reset() override;

  /// `input` [..., hidden_size] gives the same shape.
  torch::Tensor forward(const torch::Tensor& input);
  /// gate(x) and up(x), [..., intermediate_size].
  std::pair<torch::Tensor, torch::Tensor> project(const nn::SharedInput& input);

  nn::Linear gate_proj = nullptr;  ///< these two, or with fused_projections gate_up_proj
  nn::Linear up_proj = nullptr;
  nn::Linear gate_up_proj = nullptr;
  nn::Linear down_proj = nullptr;

 private:
  void build(const ParameterSource& source);

  ModelConfig config_;
};
TORCH_MODULE(GatedMLP);

}  // namespace nibble::models
