#include <nibble/core/error.h>
#include <nibble/train/optimizer.h>

#include <torch/torch.h>

#include <cmath>
#include <unordered_map>

namespace nibble::train {

Optimizer::Optimizer(NamedTensors parameters, const OptimizerRecipe& recipe)
    : parameters_(std::move(parameters)), recipe_(recipe) {
  NIBBLE_CHECK(!parameters_.empty(), "the optimizer has no parameters to train");
  for (const auto& [name, parameter] : parameters_) {
    NIBBLE_CHECK(parameter.is_leaf() && parameter.requires_grad(), "parameter ", name,
                 " must be a leaf that requires a gradient");
    exp_avg_.push_back(torch::zeros_like(parameter).detach());
    exp_avg_sq_.push_back(torch::zeros_like(parameter).detach());
    steps_.push_back(torch::zeros({}, parameter.options().dtype(at::kFloat).requires_grad(false)));
  }
}

void Optimizer::step(double lr) {
  torch::NoGradGuard no_grad;
  std::vector<at::Tensor> with_gradient, gradients, exp_avg, exp_avg_sq, steps;
  for (size_t i = 0; i < parameters_.size(); ++i) {
    const at::Tensor& parameter = parameters_[i].second;
    if (!parameter.grad().defined()) continue;
    with_gradient.push_back(parameter);
    gradients.push_back(parameter.grad());
    exp_avg.push_back(exp_avg_[i]);
    exp_avg_sq.push_back(exp_avg_sq_[i]);
    steps.push_back(steps_[i]);
  }
  if (with_gradient.empty()) return;
  at::_foreach_add_(steps, 1);
  if (recipe_.kind == OptimizerKind::kAdamW) {
    at::_fused_adamw_(with_gradient, gradients, exp_avg, exp_avg_sq, {}, steps, lr,
                      recipe_.betas[0], recipe_.betas[1], recipe_.weight_decay, recipe_.eps,
                      /*amsgrad=*/false, /*maximize=*/false);
  } else {
    at::_fused_adam_(with_gradient, gradients, exp_avg, exp_avg_sq, {}, steps, lr, recipe_.betas[0],
                     recipe_.betas[1], recipe_.weight_decay, recipe_.eps,
                     /*amsgrad=*/false, /*maximize=*/false);
  }
  for (const at::Tensor& parameter : with_gradient) torch::autograd::impl::bump_version(parameter);
}

void Optimizer::zero_grad() {
  for (const auto& [name, parameter] : parameters_) parameter.mutable_grad() = at::Tensor();
}

double Optimizer::clip_grad_norm(std::optional<double> max_norm) {
  torch::NoGradGuard no_grad;
  std::vector<at::Tensor> gradients;
  for (const auto& [name, parameter] : parameters_) {
    if (parameter.grad().defined()) gradients.push_back(parameter.grad());
  }
  NIBBLE_CHECK(!gradients.empty(), "no parameter has a gradient");
  // Summed in double: over an embedding's gradient a float sum is off in the third digit.
  double square_sum = 0;
  for (const at::Tensor& gradient : gradients) {
    const double part =
        at::linalg_vector_norm(gradient, 2, {}, /*keepdim=*/false, at::kDouble).item<double>();
    square_sum += part * part;
  }
  const double norm = std::sqrt(square_sum);
  if (!std::isfinite(norm)) {
    for (size_t i = 0; i < parameters_.size(); ++i) {
      const auto& [name, parameter] = parameters_[i];
      NIBBLE_CHECK(!parameter.grad().defined() || parameter.grad().isfinite().all().item<bool>(),
                   "the gradient of ", name, " holds NaN or infinite values");
    }
    fail("the gradients' norm overflows");
  }
  if (max_norm.has_value()) {
    // torch.nn.utils.clip_grad_norm_ has the same 1e-6 and the same cap.
    const double scale = std::min(1.0, *max_norm / (norm + 1e-6));
    if (scale < 1.0) at::_foreach_mul_(gradients, scale);
  }
  return norm;
}

NamedTensors Optimizer::state() const {
  NamedTensors result;
  for (size_t i = 0; i < parameters_.size(); ++i) {
    const std::string& name = parameters_[i].first;
    result.emplace_back(name + ".exp_avg", exp_avg_[i]);
    result.emplace_back(name + ".exp_avg_sq", exp_avg_sq_[i]);
    result.emplace_back(name + ".step", steps_[i]);
  }
  return result;
}

void Optimizer::load_state(const NamedTensors& saved) {
  torch::NoGradGuard no_grad;
  const std::unordered_map<std::string, at::Tensor> by_name(saved.begin(), saved.end());
  const NamedTensors own = state();
  NIBBLE_CHECK(by_name.size() == own.size(), "the optimizer state has ", by_name.size(),
               " tensors, this run's optimizer ", own.size());
  for (const auto& [name, tensor] : own) {
    const auto found = by_name.find(name);
    NIBBLE_CHECK(found != by_name.end(), "the optimizer state lacks ", name);
    const at::Tensor& source = found->second;
    NIBBLE_CHECK(source.sizes() == tensor.sizes() && source.scalar_type() == tensor.scalar_type(),
                 "the optimizer state's ", name, " is ", source.scalar_type(), " ", source.sizes(),
                 ", this run needs ", tensor.scalar_type(), " ", tensor.sizes());
  }
  for (const auto& [name, tensor] : own) tensor.copy_(by_name.at(name));
}

}  // namespace nibble::train
