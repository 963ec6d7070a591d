#include <nibble/core/error.h>
#include <nibble/eval/perplexity.h>
#include <nibble/eval/scoring.h>

#include <torch/torch.h>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>

#include "windows.h"

namespace nibble::eval {

int64_t default_context(const models::ModelConfig& config) {
  constexpr int64_t kUsualContext = 512;
  return std::min(kUsualContext, config.max_position_embeddings);
}

Perplexity evaluate_perplexity(models::CausalLMImpl& model, std::span<const int64_t> ids,
                               int64_t context) {
  const EvaluationScope scope(model);
  Perplexity result;
  for_each_window(model, ids, context, [&](const at::Tensor& inputs, const at::Tensor& targets) {
    const TargetScores scores = score_targets(model, inputs.unsqueeze(0), targets.unsqueeze(0));
    result.nll_sum += scores.nll.to(at::kDouble).sum().item<double>();
    result.scored += targets.size(0);
  });
  NIBBLE_CHECK(std::isfinite(result.nll_sum),
               "the model gives NaN or infinite logits for this text");
  result.value = std::exp(result.loss());
  return result;
}

nlohmann::json to_json(const Perplexity& perplexity) {
  return {
      {"value", perplexity.value}, {"nll_sum", perplexity.nll_sum}, {"scored", perplexity.scored}};
}

}  // namespace nibble::eval
