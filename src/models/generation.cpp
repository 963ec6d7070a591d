#include <nibble/models/generation.h>
#include <nibble/models/rope.h>

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>

#include "generated_row.h"

namespace nibble::models {
namespace {

using at::Tensor;

/// The tokens of `text` that the cache does not hold: one after the first call, unless all have to
/// be rotated anew.
Tensor next_input(const std::vector<int64_t>& text, KVCache& cache, const ModelConfig& config) {
  const int64_t length = static_cast<int64_t>(text.size());
  if (rotation_of(config, cache.length()) != rotation_of(config, length)) cache.truncate(0);
  const auto fresh = at::ArrayRef<int64_t>(text).slice(static_cast<size_t>(cache.length()));
  return at::tensor(fresh, at::kLong);
}

}  // namespace

std::optional<double> GenerationCost::decode_tokens_per_second() const {
  if (decode_tokens == 0) return std::nullopt;
  return static_cast<double>(decode_tokens) / decode_seconds;
}

double GenerationCost::prefill_tokens_per_second() const {
  return static_cast<double>(prefill_tokens) / prefill_seconds;
}

GenerationCost& GenerationCost::operator+=(const GenerationCost& other) {
  prefill_tokens += other.prefill_tokens;
  decode_tokens += other.decode_tokens;
  prefill_seconds += other.prefill_seconds;
  decode_seconds += other.decode_seconds;
  kv_cache_bytes = std::max(kv_cache_bytes, other.kv_cache_bytes);
  return *this;
}

int64_t sample_token(const Tensor& logits, const GenerationOptions& options,
                     at::Generator& generator) {
  if (options.temperature == 0.0) return logits.argmax().item<int64_t>();
  const Tensor scaled = logits.to(at::kCPU, at::kFloat) / options.temperature;
  const int64_t vocab = scaled.size(0);
  const int64_t kept = options.top_k > 0 ? std::min(options.top_k, vocab) : vocab;
  const auto [values, ids] = scaled.topk(kept);
  Tensor probabilities = at::softmax(values, 0);
  if (options.top_p < 1.0) {
    // A token stays while those likelier than it hold less than top_p: at least one always does.
    const Tensor before = probabilities.cumsum(0) - probabilities;
    probabilities = probabilities.masked_fill(before >= options.top_p, 0.0);
  }
  return ids[at::multinomial(probabilities, 1, /*replacement=*/false, generator).item<int64_t>()]
      .item<int64_t>();
}

Generation generate(CausalLMImpl& model, std::span<const int64_t> prompt,
                    const GenerationOptions& options) {
  check_options(options);
  GeneratedRow row(model.config(), prompt, options);
  const c10::InferenceMode inference;
  const EvalScope eval(model);
  PrefixCache own;
  PrefixCache& kept = options.cache ? *options.cache : own;
  // The last new token is never fed back, so the cache needs no room for it.
  KVCache& cache = kept.begin(model, prompt, row.prompt_length() + row.limit() - 1);
  const at::Device device = model.parameters().front().device();
  GenerationCost cost;
  Stopwatch watch;
  while (!row.done()) {
    const Tensor input = next_input(row.text(), cache, model.config());
    const Tensor hidden = model.hidden_states(input.to(device).unsqueeze(0), {.cache = &cache});
    row.extend(model.logits(hidden[0][-1]));
    if (row.new_tokens() == 1) {
      cost.prefill_seconds = watch.lap();
      cost.prefill_tokens = input.size(0);
    }
  }
  cost.decode_seconds = watch.lap();
  cost.decode_tokens = row.new_tokens() - 1;
  cost.kv_cache_bytes = cache.bytes();
  kept.end(row.text());
  Generation result = row.result();
  result.cost = cost;
  return result;
}

}  // namespace nibble::models
