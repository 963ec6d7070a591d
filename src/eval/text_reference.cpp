#include <nibble/core/error.h>
#include <nibble/eval/scoring.h>
#include <nibble/eval/text_reference.h>

#include <torch/torch.h>

#include <cmath>
#include <utility>

#include "windows.h"

namespace nibble::eval {
namespace {

using at::Tensor;

/// Positions whose logits of two models are in memory at once.
constexpr int64_t kBlock = 128;

/// Final hidden states [T, hidden_size] of one window.
Tensor hidden_states(models::CausalLMImpl& model, const Tensor& inputs) {
  return model.hidden_states(inputs.unsqueeze(0).to(device_of(model)), {})[0];
}

/// log p of every token [T, vocab_size], float32.
Tensor log_probabilities(models::CausalLMImpl& model, const Tensor& hidden) {
  return model.logits(hidden).log_softmax(-1, at::kFloat);
}

double nll_sum(const Tensor& log_p, const Tensor& targets) {
  const Tensor target = targets.to(log_p.device()).unsqueeze(1);
  return -log_p.gather(1, target).sum(at::kDouble).item<double>();
}

/// Calls `visit(begin, size)` for blocks of `count` positions.
template <class Visit>
void for_each_block(int64_t count, Visit visit) {
  for (int64_t begin = 0; begin < count; begin += kBlock) {
    visit(begin, std::min(kBlock, count - begin));
  }
}

Perplexity checked(Perplexity perplexity) {
  NIBBLE_CHECK(std::isfinite(perplexity.nll_sum),
               "the model gives NaN or infinite logits for this text");
  perplexity.value = std::exp(perplexity.loss());
  return perplexity;
}

}  // namespace

TextReference::TextReference(models::CausalLMImpl& model, std::vector<int64_t> ids, int64_t context)
    : model_(model), ids_(std::move(ids)), context_(context) {
  const EvaluationScope scope(model_);
  for_each_window(model_, ids_, context_, [&](const Tensor& inputs, const Tensor& targets) {
    hidden_.push_back(hidden_states(model_, inputs));
    for_each_block(targets.size(0), [&](int64_t begin, int64_t size) {
      perplexity_.nll_sum +=
          nll_sum(log_probabilities(model_, hidden_.back().narrow(0, begin, size)),
                  targets.narrow(0, begin, size));
    });
    perplexity_.scored += targets.size(0);
  });
  perplexity_ = checked(perplexity_);
}

TextScores TextReference::score(models::CausalLMImpl& model) const {
  NIBBLE_CHECK(model.config().vocab_size == model_.config().vocab_size,
               "the reference has a vocabulary of ", model_.config().vocab_size,
               ", this model one of ", model.config().vocab_size);
  const EvaluationScope reference_scope(model_), scope(model);
  Perplexity perplexity;
  double kl_sum = 0;
  int64_t agreeing = 0;
  size_t window = 0;
  for_each_window(model, ids_, context_, [&](const Tensor& inputs, const Tensor& targets) {
    const Tensor hidden = hidden_states(model, inputs), expected_hidden = hidden_[window++];
    for_each_block(targets.size(0), [&](int64_t begin, int64_t size) {
      const Tensor found = log_probabilities(model, hidden.narrow(0, begin, size));
      const Tensor expected =
          log_probabilities(model_, expected_hidden.narrow(0, begin, size)).to(found.device());
      perplexity.nll_sum += nll_sum(found, targets.narrow(0, begin, size));
      kl_sum += (expected.exp() * (expected - found)).sum(at::kDouble).item<double>();
      agreeing += (expected.argmax(1) == found.argmax(1)).sum().item<int64_t>();
    });
    perplexity.scored += targets.size(0);
  });
  const auto scored = static_cast<double>(perplexity.scored);
  return {checked(perplexity), static_cast<double>(agreeing) / scored, kl_sum / scored};
}

}  // namespace nibble::eval
