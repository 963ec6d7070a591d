#pragma once

#include <nibble/models/causal_lm.h>

#include <cstdint>

namespace nibble::eval {

struct Speed {
  double prefill_tokens_per_second = 0;
  double decode_tokens_per_second = 0;
  int64_t prompt_tokens = 0;
  int64_t new_tokens = 0;
};

/// The best of three greedy generations of up to 64 tokens after a prompt of up to 256 (half the
/// model's context each at most), after one that is not counted.
Speed measure_speed(models::CausalLMImpl& model);

}  // namespace nibble::eval
