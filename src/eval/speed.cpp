#include <nibble/eval/speed.h>
#include <nibble/models/generation.h>

#include <algorithm>
#include <vector>

namespace nibble::eval {

Speed measure_speed(models::CausalLMImpl& model) {
  constexpr int64_t kPromptTokens = 256, kNewTokens = 64;
  constexpr int kRounds = 3;
  const int64_t half = model.config().max_position_embeddings / 2;
  Speed speed{.prompt_tokens = std::min(kPromptTokens, half),
              .new_tokens = std::min(kNewTokens, half)};
  std::vector<int64_t> prompt;
  for (int64_t i = 0; i < speed.prompt_tokens; ++i) {
    prompt.push_back((7 * i + 1) % model.config().vocab_size);  // any tokens take the same time
  }
  const models::GenerationOptions options{.max_new_tokens = speed.new_tokens,
                                          .stop_ids = std::vector<int64_t>{}};
  for (int round = 0; round <= kRounds; ++round) {
    const models::GenerationCost cost = models::generate(model, prompt, options).cost;
    if (round == 0) continue;
    speed.prefill_tokens_per_second =
        std::max(speed.prefill_tokens_per_second, cost.prefill_tokens_per_second());
    speed.decode_tokens_per_second =
        std::max(speed.decode_tokens_per_second, cost.decode_tokens_per_second().value_or(0));
  }
  return speed;
}

}  // namespace nibble::eval
