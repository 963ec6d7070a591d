#pragma once

#include <nibble/core/error.h>
#include <nibble/models/causal_lm.h>

#include <ATen/Functions.h>

#include <algorithm>
#include <span>

namespace nibble::eval {

/// Cuts a text into windows of `context` tokens without overlap and calls
/// `visit(inputs, targets)`, both [T] int64, for each that has something to score: the first token
/// of a window has no context. Throws Error when the model does not take `context` tokens.
template <class Visit>
void for_each_window(const models::CausalLMImpl& model, std::span<const int64_t> ids,
                     int64_t context, Visit visit) {
  const int64_t positions = model.config().max_position_embeddings;
  NIBBLE_CHECK(context >= 2 && context <= positions, "a context of ", context,
               " tokens; allowed for this model: 2 to ", positions);
  NIBBLE_CHECK(ids.size() >= 2, "perplexity needs at least 2 tokens, the text has ", ids.size());
  const at::Tensor text = at::tensor(at::ArrayRef<int64_t>(ids.data(), ids.size()), at::kLong);
  for (int64_t begin = 0; begin + 1 < text.size(0); begin += context) {
    const at::Tensor window = text.narrow(0, begin, std::min(context, text.size(0) - begin));
    const int64_t scored = window.size(0) - 1;
    visit(window.narrow(0, 0, scored), window.narrow(0, 1, scored));
  }
}

}  // namespace nibble::eval
