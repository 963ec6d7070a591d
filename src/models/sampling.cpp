#include "sampling.h"

#include <nibble/ops/decode.h>

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>

#include <algorithm>

namespace nibble::models {

using at::Tensor;

Tensor sample(const Tensor& logits, const GenerationOptions& options,
              const at::Generator& generator) {
  if (options.temperature == 0.0) return ops::greedy_token(logits);
  const Tensor scaled = logits.to(at::kFloat) / options.temperature;
  const int64_t vocab = scaled.size(0);
  const int64_t kept = options.top_k > 0 ? std::min(options.top_k, vocab) : vocab;
  const auto [values, ids] = scaled.topk(kept);
  Tensor probabilities = at::softmax(values, 0);
  if (options.top_p < 1.0) {
    // A token stays while those likelier than it hold less than top_p: at least one always does.
    const Tensor before = probabilities.cumsum(0) - probabilities;
    probabilities = probabilities.masked_fill(before >= options.top_p, 0.0);
  }
  // What at::multinomial does for one draw; it would look at the probabilities on the host first.
  const Tensor waits = at::empty_like(probabilities).exponential_(1.0, generator);
  return ids.index_select(0, (probabilities / waits).argmax(/*dim=*/0, /*keepdim=*/true));
}

int64_t sample_token(const Tensor& logits, const GenerationOptions& options,
                     at::Generator& generator) {
  const bool greedy = options.temperature == 0.0;
  return sample(greedy ? logits : logits.cpu(), options, generator).item<int64_t>();
}

}  // namespace nibble::models
