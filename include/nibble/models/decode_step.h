#pragma once

#include <nibble/models/decode_inputs.h>
#include <nibble/models/decoder.h>
#include <nibble/models/kv_cache.h>

#include <ATen/core/Tensor.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace nibble::models {

/// One token through a decoder, from few large operators (ops/decode.h). Token and position lie on
/// the device and the cache is written in place at that position, so that a CUDA graph of it can be
/// replayed token after token. Gives what the ordinary forward gives, up to the order of sums.
class DecodeStep {
 public:
  /// Why `model` is decoded by its ordinary forward, or empty: a decoder of the Llama kind (norms
  /// before the blocks, SiLU, no soft caps, one rotation for all lengths), on CUDA in bfloat16 or
  /// float16 with heads of 64, 128 or 256.
  static std::optional<std::string> refusal(const CausalLMImpl& model);

  /// Both must outlive it; the cache has one row and must not grow. Throws Error with the refusal.
  DecodeStep(CausalLMImpl& model, const KVCache& cache);

  /// int64 [1] each: the next forward's token, and where in the text it stands.
  at::Tensor& token() { return token_; }
  at::Tensor& position() { return position_; }

  /// The logits [vocab_size] for what follows the token; its key and value are in the cache then.
  /// Needs at::NoGradGuard and a model in evaluation mode.
  at::Tensor logits();

 private:
  at::Tensor attend(AttentionImpl& attention, const nn::SharedInput& normed, int64_t layer) const;

  DecoderLMImpl& model_;
  const KVCache& cache_;
  std::vector<DecodeRotation> rotations_;
  at::Tensor token_, position_, scratch_;
};

}  // namespace nibble::models
