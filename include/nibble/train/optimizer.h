#pragma once

#include <nibble/train/recipe.h>

#include <ATen/core/Tensor.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace nibble::train {

using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

/// Adam or AdamW through ATen's fused kernel, one pass over parameter, gradient and both moments.
/// The fused kernel leaves the parameters' version counters alone; step() bumps them, so that
/// whatever is cached by version (fq(W), saved tensors) sees the change.
class Optimizer {
 public:
  /// `parameters`: distinct leaves that require a gradient. Moments have their dtype and device.
  Optimizer(NamedTensors parameters, const OptimizerRecipe& recipe);

  /// Applies the gradients; a parameter without one is left alone, as in torch.optim.
  void step(double lr);
  void zero_grad();
  /// Scales the gradients so that their joint 2-norm is at most `max_norm`, like
  /// torch.nn.utils.clip_grad_norm_. Returns the norm before. Throws Error when it is not finite:
  /// one such step would ruin the weights.
  double clip_grad_norm(std::optional<double> max_norm);

  /// "<parameter>.exp_avg", ".exp_avg_sq" and ".step" of every parameter; views, not copies.
  NamedTensors state() const;
  /// Copies a state into this optimizer. Throws Error when names, shapes or dtypes differ.
  void load_state(const NamedTensors& state);

  const NamedTensors& parameters() const { return parameters_; }

 private:
  NamedTensors parameters_;
  std::vector<at::Tensor> exp_avg_;
  std::vector<at::Tensor> exp_avg_sq_;
  std::vector<at::Tensor> steps_;
  OptimizerRecipe recipe_;
};

}  // namespace nibble::train
