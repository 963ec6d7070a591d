#pragma once

#include <nibble/models/causal_lm.h>

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>

#include <memory>
#include <vector>

namespace nibble::eval {

/// For its lifetime `model` is in evaluation mode and no gradients are recorded. The mode that each
/// module had comes back at the end.
class EvaluationScope {
 public:
  explicit EvaluationScope(models::CausalLMImpl& model);
  ~EvaluationScope();
  EvaluationScope(const EvaluationScope&) = delete;
  EvaluationScope& operator=(const EvaluationScope&) = delete;

 private:
  std::vector<std::shared_ptr<torch::nn::Module>> modules_;
  std::vector<bool> was_training_;
  models::CausalLMImpl& model_;
  bool model_was_training_;
  at::NoGradGuard no_grad_;
};

/// How well a model predicts each target, on the CPU, in the row-major order of the labels.
struct TargetScores {
  at::Tensor nll;      ///< [N] float32, negative log-likelihood in nats
  at::Tensor correct;  ///< [N] bool, whether the target has the highest logit
};

/// Scores the positions whose label is not data::kIgnoreIndex.
///   ids, labels  [B, T] int64 on any device; rows may be padded on the right
/// Logits are made for those positions only, a block at a time, and reduced in float32. With a
/// `cache` the rows go on from what it holds. Call it inside an EvaluationScope. Throws Error when
/// the shapes differ.
TargetScores score_targets(models::CausalLMImpl& model, const at::Tensor& ids,
                           const at::Tensor& labels, models::KVCache* cache = nullptr);

/// The device of the model's parameters.
at::Device device_of(const models::CausalLMImpl& model);

}  // namespace nibble::eval
