#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace nibble::io {

/// Llama 3's scaling of rotary frequencies (config.json: rope_type llama3).
struct Llama3Rope {
  double factor = 1.0;
  double low_freq_factor = 1.0;
  double high_freq_factor = 4.0;
  int64_t original_context = 8192;
};

/// What each of the head_dim / 2 frequencies is divided by: GGUF's tensor rope_freqs.weight.
/// Source: llama.cpp, convert_hf_to_gguf.py.
std::vector<float> llama3_divisors(const Llama3Rope& rope, double theta, int64_t head_dim);

/// The parameters behind stored divisors, those that `hint` has beside the factor being tried;
/// nothing where they are not Llama 3's.
std::optional<Llama3Rope> llama3_rope_of(std::span<const float> divisors, const Llama3Rope& hint,
                                         double theta);

}  // namespace nibble::io
