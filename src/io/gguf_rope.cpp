#include "gguf_rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace nibble::io {

std::vector<float> llama3_divisors(const Llama3Rope& rope, double theta, int64_t head_dim) {
  const double context = static_cast<double>(rope.original_context);
  std::vector<float> divisors;
  for (int64_t i = 0; i < head_dim; i += 2) {
    const double exponent = static_cast<double>(i) / static_cast<double>(head_dim);
    const double wavelength = 2 * std::numbers::pi * std::pow(theta, exponent);
    double divisor = 1.0;
    if (wavelength > context / rope.low_freq_factor) {
      divisor = rope.factor;
    } else if (wavelength >= context / rope.high_freq_factor) {
      const double smooth = (context / wavelength - rope.low_freq_factor) /
                            (rope.high_freq_factor - rope.low_freq_factor);
      divisor = 1.0 / ((1.0 - smooth) / rope.factor + smooth);
    }
    divisors.push_back(static_cast<float>(divisor));
  }
  return divisors;
}

std::optional<Llama3Rope> llama3_rope_of(std::span<const float> divisors, const Llama3Rope& hint,
                                         double theta) {
  constexpr float kTolerance = 1e-4f;  // writers compute them in float32
  if (divisors.empty()) return std::nullopt;
  Llama3Rope rope = hint;
  rope.factor = *std::max_element(divisors.begin(), divisors.end());
  if (!(rope.factor >= 1.0)) return std::nullopt;
  const std::vector<float> expected =
      llama3_divisors(rope, theta, static_cast<int64_t>(2 * divisors.size()));
  for (size_t i = 0; i < divisors.size(); ++i) {
    // Written so that a NaN is refused too.
    if (!(std::abs(divisors[i] - expected[i]) <= kTolerance * expected[i])) return std::nullopt;
  }
  return rope;
}

}  // namespace nibble::io
