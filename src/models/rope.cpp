#include <nibble/models/rope.h>

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>

#include <cmath>
#include <numbers>

namespace nibble::models {
namespace {

using at::Tensor;

Tensor scale_llama3(const Tensor& frequencies, const RopeOptions& options) {
  const double context = static_cast<double>(options.original_max_position_embeddings);
  const Tensor wavelengths = 2 * std::numbers::pi / frequencies;
  const Tensor scaled = frequencies / options.factor;
  const Tensor smooth = (context / wavelengths - options.low_freq_factor) /
                        (options.high_freq_factor - options.low_freq_factor);
  const Tensor between = (1 - smooth) * scaled + smooth * frequencies;
  const Tensor long_waves = wavelengths > context / options.low_freq_factor;
  const Tensor short_waves = wavelengths < context / options.high_freq_factor;
  return at::where(long_waves, scaled, at::where(short_waves, frequencies, between));
}

}  // namespace

Tensor rope_inverse_frequencies(const RopeOptions& options, int64_t head_dim) {
  const Tensor exponents = at::arange(0, head_dim, 2, at::kFloat) / head_dim;
  const Tensor frequencies = 1.0 / at::pow(options.theta, exponents);
  switch (options.kind) {
    case RopeKind::kDefault:
      return frequencies;
    case RopeKind::kLinear:
      return frequencies / options.factor;
    case RopeKind::kLlama3:
      return scale_llama3(frequencies, options);
  }
  return frequencies;
}

RotaryTables make_rotary_tables(const Tensor& inverse_frequencies, const Tensor& position_ids,
                                at::ScalarType dtype) {
  const Tensor half =
      position_ids.to(at::kFloat).unsqueeze(-1) * inverse_frequencies.to(position_ids.device());
  const Tensor angles = at::cat({half, half}, -1).unsqueeze(2);
  return {angles.cos().to(dtype), angles.sin().to(dtype)};
}

Tensor apply_rotary(const Tensor& x, const RotaryTables& tables) {
  const auto halves = x.chunk(2, -1);
  return x * tables.cos + at::cat({-halves[1], halves[0]}, -1) * tables.sin;
}

}  // namespace nibble::models
