#pragma once

#include <nibble/eval/perplexity.h>
#include <nibble/models/causal_lm.h>

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace nibble::eval {

/// How a model predicts the tokens of a text, beside a reference.
struct TextScores {
  Perplexity perplexity;
  double top_token_agreement = 1;  ///< share of tokens for which both have the same highest logit
  double kl = 0;                   ///< KL(reference || model), nats a token
};

/// What a reference model makes of a text, kept to compare other models with. Kept are its final
/// hidden states (hidden_size numbers a token), not its logits (vocab_size): those are made again a
/// block at a time, so the reference has to stay alive, but runs over the text only once.
class TextReference {
 public:
  /// Windows and errors are those of evaluate_perplexity().
  TextReference(models::CausalLMImpl& model, std::vector<int64_t> ids, int64_t context);

  const Perplexity& perplexity() const { return perplexity_; }

  /// The same windows through another model; logits are compared in float32. Throws Error when its
  /// vocabulary has another size.
  TextScores score(models::CausalLMImpl& model) const;

 private:
  models::CausalLMImpl& model_;
  std::vector<int64_t> ids_;
  int64_t context_;
  Perplexity perplexity_;
  std::vector<at::Tensor> hidden_;  // a window each, [T, hidden_size]
};

}  // namespace nibble::eval
