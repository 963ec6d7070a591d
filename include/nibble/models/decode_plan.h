#pragma once

#include <nibble/models/decode_inputs.h>
#include <nibble/models/decoder.h>
#include <nibble/models/kv_cache.h>
#include <nibble/ops/stages.h>

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace nibble::models {

/// One token through a converted decoder on the CPU, the stages of all layers (ops/token_stages.h)
/// in one parallel region: between its products a token is so little work that tensor operations
/// would take longer. The logits are the bits of the ordinary forward, but under a sliding window,
/// where sums have another order.
class DecodePlan {
 public:
  /// Why `model` is decoded by its ordinary forward, or empty: what DecodeStep takes, on the CPU,
  /// with all Linears of its layers converted to int4 and they, their biases and the norms in one
  /// dtype.
  static std::optional<std::string> refusal(const CausalLMImpl& model);

  /// Both must outlive it; the cache has one row and must not grow. Throws Error with the refusal.
  DecodePlan(CausalLMImpl& model, KVCache& cache);

  /// The logits [vocab_size] for what follows `token`, the next of the cache's text, which holds it
  /// then. Needs a model in evaluation mode. Throws Error when the cache is full or has grown, and
  /// where gradients or autocast are on.
  at::Tensor logits(int64_t token);

 private:
  void add_attention(int64_t layer, const std::vector<DecodeRotation>& rotations);
  void add_mlp(DecoderLayerImpl& layer);
  at::Tensor buffer(int64_t features) const;

  DecoderLMImpl& model_;
  KVCache& cache_;
  int64_t capacity_;     ///< of the cache that the stages write
  at::Tensor position_;  ///< int64 [1]
  at::Tensor hidden_;    ///< [hidden_size]: the residual
  at::Tensor update_;    ///< [hidden_size]: what a block adds to it
  std::vector<ops::Stage> stages_;
};

}  // namespace nibble::models
