#pragma once

#include <nibble/models/causal_lm.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

namespace nibble::models {

struct GenerationOptions {
  int64_t max_new_tokens = 128;
  double temperature = 0.0;  ///< 0: greedy; above: softmax(logits / temperature) is sampled
  int64_t top_k = 0;         ///< sample among the k likeliest; 0: all
  double top_p = 1.0;        ///< sample among the fewest tokens that hold this probability
  uint64_t seed = 0;         ///< of a generator used by this call alone
  std::optional<std::vector<int64_t>> stop_ids = {};  ///< empty: the configuration's eos_token_id
  /// Called with each new token as soon as it is known; false ends the generation.
  std::function<bool(int64_t token)> on_token = {};
};

enum class FinishReason {
  kStopToken,     ///< the last token is one of stop_ids
  kTokenLimit,    ///< max_new_tokens
  kContextLimit,  ///< the model's max_position_embeddings
  kCallback,      ///< on_token returned false
};

struct Generation {
  std::vector<int64_t> tokens;  ///< the new ones, the stop token included
  FinishReason finish = FinishReason::kTokenLimit;
};

/// Continues `prompt` with the KV cache, without gradients and in eval mode (the training flag is
/// put back). Greedy ties go to the lowest id. Throws Error for an empty prompt, one that fills the
/// model's context, or an option outside its range.
Generation generate(CausalLMImpl& model, std::span<const int64_t> prompt,
                    const GenerationOptions& options = {});

/// One token of the float32 distribution that `logits` [vocab_size] and the options describe.
int64_t sample_token(const at::Tensor& logits, const GenerationOptions& options,
                     at::Generator& generator);

}  // namespace nibble::models
