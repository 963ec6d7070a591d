#include <nibble/core/error.h>
#include <nibble/data/row.h>
#include <nibble/eval/scoring.h>

#include <torch/torch.h>

#include <algorithm>

namespace nibble::eval {
namespace {

/// Positions whose logits are in memory at once: 25 MB for a vocabulary of 49,152.
constexpr int64_t kBlock = 128;

}  // namespace

EvaluationScope::EvaluationScope(models::CausalLMImpl& model)
    : modules_(model.modules(/*include_self=*/false)),
      model_(model),
      model_was_training_(model.is_training()) {
  for (const auto& module : modules_) {
    was_training_.push_back(module->is_training());
  }
  model_.eval();
}

EvaluationScope::~EvaluationScope() {
  model_.train(model_was_training_);
  // train() is recursive, so the modules follow parents first.
  for (size_t i = 0; i < modules_.size(); ++i) {
    if (modules_[i]->is_training() != was_training_[i]) modules_[i]->train(was_training_[i]);
  }
}

at::Device device_of(const models::CausalLMImpl& model) {
  const std::vector<at::Tensor> parameters = model.parameters();
  return parameters.empty() ? at::Device(at::kCPU) : parameters.front().device();
}

TargetScores score_targets(models::CausalLMImpl& model, const at::Tensor& ids,
                           const at::Tensor& labels, models::KVCache* cache) {
  NIBBLE_CHECK(ids.dim() == 2 && ids.sizes() == labels.sizes(), "ids and labels are [B, T], found ",
               ids.sizes(), " and ", labels.sizes());
  const at::Device device = device_of(model);
  const at::Tensor all_labels = labels.to(device).flatten();
  const at::Tensor positions = (all_labels != data::kIgnoreIndex).nonzero().squeeze(1);
  const at::Tensor targets = all_labels.index_select(0, positions);
  const at::Tensor hidden = model.hidden_states(ids.to(device), {.cache = cache})
                                .flatten(0, 1)
                                .index_select(0, positions);
  std::vector<at::Tensor> nll, correct;
  for (int64_t begin = 0; begin < targets.size(0); begin += kBlock) {
    const int64_t size = std::min(kBlock, targets.size(0) - begin);
    const at::Tensor logits = model.logits(hidden.narrow(0, begin, size)).to(at::kFloat);
    const at::Tensor target = targets.narrow(0, begin, size);
    nll.push_back(logits.logsumexp(1) - logits.gather(1, target.unsqueeze(1)).squeeze(1));
    correct.push_back(logits.argmax(1) == target);
  }
  if (nll.empty()) return {at::empty({0}), at::empty({0}, at::kBool)};
  return {at::cat(nll).cpu(), at::cat(correct).cpu()};
}

}  // namespace nibble::eval
