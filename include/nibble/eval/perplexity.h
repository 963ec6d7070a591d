#pragma once

#include <nibble/models/causal_lm.h>

#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <span>

namespace nibble::eval {

struct Perplexity {
  double value = 0;    ///< exp(nll_sum / scored)
  double nll_sum = 0;  ///< nats
  int64_t scored = 0;  ///< tokens

  /// Nats a token.
  double loss() const { return nll_sum / static_cast<double>(scored); }
};

/// The usual window: 512 tokens, or what the model can hold.
int64_t default_context(const models::ModelConfig& config);

/// Perplexity of a text of token ids, cut into windows of `context` tokens without overlap. The
/// first token of each window has no context and is not scored. Throws Error when `context` is less
/// than 2 or more than the model's positions, no token is left to score, or a logit is not finite.
Perplexity evaluate_perplexity(models::CausalLMImpl& model, std::span<const int64_t> ids,
                               int64_t context);

/// {"value", "nll_sum", "scored"}
nlohmann::json to_json(const Perplexity& perplexity);

}  // namespace nibble::eval
