#include <nibble/core/error.h>
#include <nibble/data/row.h>
#include <nibble/eval/perplexity.h>
#include <nibble/eval/scoring.h>

#include <torch/torch.h>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>

namespace nibble::eval {

Perplexity evaluate_perplexity(models::CausalLMImpl& model, std::span<const int64_t> ids,
                               int64_t context) {
  const int64_t positions = model.config().max_position_embeddings;
  NIBBLE_CHECK(context >= 2 && context <= positions, "a context of ", context,
               " tokens; allowed for this model: 2 to ", positions);
  const EvaluationScope scope(model);
  const at::Tensor text = torch::tensor(at::ArrayRef<int64_t>(ids.data(), ids.size()), at::kLong);
  Perplexity result;
  for (int64_t begin = 0; begin + 1 < text.size(0); begin += context) {
    const at::Tensor window = text.narrow(0, begin, std::min(context, text.size(0) - begin));
    const int64_t scored = window.size(0) - 1;
    const TargetScores scores = score_targets(model, window.narrow(0, 0, scored).unsqueeze(0),
                                              window.narrow(0, 1, scored).unsqueeze(0));
    result.nll_sum += scores.nll.to(at::kDouble).sum().item<double>();
    result.scored += scored;
  }
  NIBBLE_CHECK(result.scored > 0, "perplexity needs at least 2 tokens, the text has ", ids.size());
  NIBBLE_CHECK(std::isfinite(result.nll_sum),
               "the model gives NaN or infinite logits for this text");
  result.value = std::exp(result.nll_sum / static_cast<double>(result.scored));
  return result;
}

nlohmann::json to_json(const Perplexity& perplexity) {
  return {
      {"value", perplexity.value}, {"nll_sum", perplexity.nll_sum}, {"scored", perplexity.scored}};
}

}  // namespace nibble::eval
