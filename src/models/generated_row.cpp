#include "generated_row.h"

#include <nibble/core/error.h>

#include <ATen/CPUGeneratorImpl.h>

#include <algorithm>
#include <cmath>

namespace nibble::models {

void check_options(const GenerationOptions& options) {
  NIBBLE_CHECK(options.max_new_tokens >= 1, "max_new_tokens must be at least 1, got ",
               options.max_new_tokens);
  NIBBLE_CHECK(options.temperature >= 0.0 && std::isfinite(options.temperature),
               "temperature must be 0 (greedy) or above, got ", options.temperature);
  NIBBLE_CHECK(options.top_k >= 0, "top_k must be 0 (off) or above, got ", options.top_k);
  NIBBLE_CHECK(options.top_p > 0.0 && options.top_p <= 1.0,
               "top_p must be above 0 and at most 1, got ", options.top_p);
}

GeneratedRow::GeneratedRow(const ModelConfig& config, std::span<const int64_t> prompt,
                           const GenerationOptions& options)
    : options_(options),
      stops_(options.stop_ids ? *options.stop_ids : config.eos_token_ids),
      text_(prompt.begin(), prompt.end()),
      prompt_length_(static_cast<int64_t>(prompt.size())),
      limit_(std::min(options.max_new_tokens, config.max_position_embeddings - prompt_length_)),
      generator_(at::detail::createCPUGenerator(options.seed)) {
  const int64_t context = config.max_position_embeddings;
  NIBBLE_CHECK(prompt_length_ >= 1 && prompt_length_ < context, "the prompt has ", prompt_length_,
               " tokens; this model takes 1 to ", context - 1);
}

void GeneratedRow::extend(const at::Tensor& logits) {
  push(sample_token(logits, options_, generator_));
}

void GeneratedRow::push(int64_t token) {
  text_.push_back(token);
  const bool wanted = !options_.on_token || options_.on_token(token);
  if (std::find(stops_.begin(), stops_.end(), token) != stops_.end()) {
    finish(FinishReason::kStopToken);
  } else if (!wanted) {
    finish(FinishReason::kCallback);
  } else if (new_tokens() == limit_) {
    finish(limit_ < options_.max_new_tokens ? FinishReason::kContextLimit
                                            : FinishReason::kTokenLimit);
  }
}

void GeneratedRow::finish(FinishReason reason) {
  done_ = true;
  finish_ = reason;
}

Generation GeneratedRow::result() const {
  return {.tokens = {text_.begin() + prompt_length_, text_.end()}, .finish = finish_};
}

}  // namespace nibble::models
