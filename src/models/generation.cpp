#include <nibble/core/error.h>
#include <nibble/models/generation.h>
#include <nibble/models/rope.h>

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>

namespace nibble::models {
namespace {

using at::Tensor;

/// Evaluation mode for the lifetime of the object.
class EvalScope {
 public:
  explicit EvalScope(torch::nn::Module& model) : model_(model), was_training_(model.is_training()) {
    model_.eval();
  }
  ~EvalScope() { model_.train(was_training_); }
  EvalScope(const EvalScope&) = delete;
  EvalScope& operator=(const EvalScope&) = delete;

 private:
  torch::nn::Module& model_;
  bool was_training_;
};

void check_options(const GenerationOptions& options) {
  NIBBLE_CHECK(options.max_new_tokens >= 1, "max_new_tokens must be at least 1, got ",
               options.max_new_tokens);
  NIBBLE_CHECK(options.temperature >= 0.0 && std::isfinite(options.temperature),
               "temperature must be 0 (greedy) or above, got ", options.temperature);
  NIBBLE_CHECK(options.top_k >= 0, "top_k must be 0 (off) or above, got ", options.top_k);
  NIBBLE_CHECK(options.top_p > 0.0 && options.top_p <= 1.0,
               "top_p must be above 0 and at most 1, got ", options.top_p);
}

/// The tokens of `text` that the cache does not hold: one after the first call, unless all have to
/// be rotated anew.
Tensor next_input(const std::vector<int64_t>& text, KVCache& cache, const ModelConfig& config) {
  const int64_t length = static_cast<int64_t>(text.size());
  if (rotation_of(config, cache.length()) != rotation_of(config, length)) cache.truncate(0);
  const auto fresh = at::ArrayRef<int64_t>(text).slice(static_cast<size_t>(cache.length()));
  return at::tensor(fresh, at::kLong);
}

}  // namespace

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
  const int64_t context = model.config().max_position_embeddings;
  const int64_t length = static_cast<int64_t>(prompt.size());
  NIBBLE_CHECK(length >= 1 && length < context, "the prompt has ", length,
               " tokens; this model takes 1 to ", context - 1);
  const int64_t limit = std::min(options.max_new_tokens, context - length);
  const std::vector<int64_t>& stops =
      options.stop_ids ? *options.stop_ids : model.config().eos_token_ids;

  const at::NoGradGuard no_grad;
  const EvalScope eval(model);
  at::Generator generator = at::detail::createCPUGenerator(options.seed);
  // The last new token is never fed back, so the cache needs no room for it.
  KVCache cache = model.make_cache(1, length + limit - 1);
  const at::Device device = model.parameters().front().device();
  Generation result;
  std::vector<int64_t> text(prompt.begin(), prompt.end());
  while (true) {
    const Tensor input = next_input(text, cache, model.config());
    const Tensor hidden = model.hidden_states(input.to(device).unsqueeze(0), {.cache = &cache});
    const int64_t token = sample_token(model.logits(hidden[0][-1]), options, generator);
    result.tokens.push_back(token);
    text.push_back(token);
    const bool wanted = !options.on_token || options.on_token(token);
    if (std::find(stops.begin(), stops.end(), token) != stops.end()) {
      result.finish = FinishReason::kStopToken;
      return result;
    }
    if (!wanted) {
      result.finish = FinishReason::kCallback;
      return result;
    }
    if (static_cast<int64_t>(result.tokens.size()) == limit) {
      result.finish =
          limit < options.max_new_tokens ? FinishReason::kContextLimit : FinishReason::kTokenLimit;
      return result;
    }
  }
}

}  // namespace nibble::models
