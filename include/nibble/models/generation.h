#pragma once

#include <nibble/models/causal_lm.h>
#include <nibble/models/prefix_cache.h>

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
  uint64_t seed = 0;         ///< of a generator used by this call alone; a batch has one a row
  std::optional<std::vector<int64_t>> stop_ids = {};  ///< empty: the configuration's eos_token_id
  /// Called with each new token as soon as it is known; false ends the generation.
  std::function<bool(int64_t token)> on_token = {};
  /// Used and left behind for the next call with the same model; null: a cache of this call alone.
  PrefixCache* cache = nullptr;
  /// On CUDA, generate() captures the decoding of a token into a CUDA graph where DecodeStep takes
  /// the model and the limits leave enough tokens to repay it. Sampled tokens are then drawn on the
  /// device: a seed gives others than without. Rounding may differ too.
  bool use_graph = true;
  /// On the CPU, generate() decodes with a DecodePlan where that takes the model and autocast is
  /// off: the same bits but under a sliding window, sooner.
  bool use_plan = true;
};

enum class FinishReason {
  kStopToken,     ///< the last token is one of stop_ids
  kTokenLimit,    ///< max_new_tokens
  kContextLimit,  ///< the model's max_position_embeddings
  kCallback,      ///< on_token returned false
};

/// How the tokens after the first were decoded.
enum class DecodePath {
  kForward,    ///< by the model's ordinary forward
  kPlan,       ///< by a DecodePlan, on the CPU
  kCudaGraph,  ///< by a CUDA graph of a DecodeStep
};
const char* to_string(DecodePath path);  ///< "forward", "plan", "cuda_graph"

/// What a generation took. The first new token comes out of the prefill.
struct GenerationCost {
  int64_t prefill_tokens = 0;  ///< of the prompts, without those that a cache held and padding
  int64_t decode_tokens = 0;   ///< new ones but the first of each row
  double prefill_seconds = 0;
  double decode_seconds = 0;
  double graph_seconds = 0;  ///< of capturing the CUDA graph, in neither of the above; 0: none was
  int64_t kv_cache_bytes = 0;  ///< the most held at a time
  DecodePath decode_path = DecodePath::kForward;

  /// Empty where nothing was decoded.
  std::optional<double> decode_tokens_per_second() const;
  double prefill_tokens_per_second() const;
  /// Adds tokens and seconds, takes the larger cache and the other's path where it decoded.
  GenerationCost& operator+=(const GenerationCost& other);
};

struct Generation {
  std::vector<int64_t> tokens;  ///< the new ones, the stop token included
  FinishReason finish = FinishReason::kTokenLimit;
  GenerationCost cost = {};
};

struct BatchGeneration {
  std::vector<Generation> rows;  ///< in the prompts' order; their `cost` is left empty
  GenerationCost cost = {};      ///< of all rows
};

/// Continues `prompt` with the KV cache, without gradients and in eval mode (the training flag is
/// put back). Greedy ties go to the lowest id. Throws Error for an empty prompt, one that fills the
/// model's context, or an option outside its range.
Generation generate(CausalLMImpl& model, std::span<const int64_t> prompt,
                    const GenerationOptions& options = {});

/// Continues several prompts of any lengths at once, padded on the left. Each row ends for itself
/// and is what generate() gives for its prompt alone, up to the rounding of other kernels. A model
/// whose rotation depends on a text's length (LongRoPE) takes its rows one by one. Throws Error as
/// generate() does, for no prompts, and for on_token or cache, which are for one row.
BatchGeneration generate_batch(CausalLMImpl& model, std::span<const std::vector<int64_t>> prompts,
                               const GenerationOptions& options = {});

/// One token of the float32 distribution that `logits` [vocab_size] and the options describe.
int64_t sample_token(const at::Tensor& logits, const GenerationOptions& options,
                     at::Generator& generator);

}  // namespace nibble::models
