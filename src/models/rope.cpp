#include <nibble/core/error.h>
#include <nibble/models/rope.h>
#include <nibble/ops/decoder.h>

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>

#include <algorithm>
#include <cmath>
#include <numbers>

namespace nibble::models {
namespace {

using at::Tensor;

/// float32 [rotary_dim / 2]: positions in which each pair turns by one radian.
Tensor unscaled_periods(const RopeOptions& options) {
  const Tensor exponents = at::arange(0, options.rotary_dim, 2, at::kFloat) / options.rotary_dim;
  return at::pow(options.theta, exponents);
}

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

/// The pair of elements that turns `turns` times in the original context, between pairs.
double yarn_pair(const RopeOptions& options, double turns) {
  const double context = static_cast<double>(options.original_max_position_embeddings);
  return static_cast<double>(options.rotary_dim) *
         std::log(context / (turns * 2 * std::numbers::pi)) / (2 * std::log(options.theta));
}

/// Source: transformers, _compute_yarn_parameters.
Tensor scale_yarn(const Tensor& periods, const RopeOptions& options) {
  double first = yarn_pair(options, options.beta_fast);
  double last = yarn_pair(options, options.beta_slow);
  if (options.truncate) {
    first = std::floor(first);
    last = std::ceil(last);
  }
  first = std::max(first, 0.0);
  last = std::min(last, static_cast<double>(options.rotary_dim - 1));
  if (first == last) last += 0.001;
  const Tensor pairs = at::arange(options.rotary_dim / 2, at::kFloat);
  const Tensor kept = 1 - at::clamp((pairs - first) / (last - first), 0, 1);
  return 1.0 / (options.factor * periods) * (1 - kept) + 1.0 / periods * kept;
}

/// float32 [rotary_dim / 2]: radians a position turns each pair by, scaling included. Every
/// operation is rounded as in transformers: the angles of far positions magnify any difference.
Tensor make_frequencies(const RopeOptions& options, const std::vector<double>& long_rope_factors) {
  const Tensor periods = unscaled_periods(options);
  switch (options.kind) {
    case RopeKind::kDefault:
      return 1.0 / periods;
    case RopeKind::kLinear:
      return 1.0 / periods / options.factor;
    case RopeKind::kLlama3:
      return scale_llama3(1.0 / periods, options);
    case RopeKind::kYarn:
      return scale_yarn(periods, options);
    case RopeKind::kLongRope:
      return 1.0 / (at::tensor(long_rope_factors, at::kFloat) * periods);
  }
  fail("no such rope kind");
}

}  // namespace

RotaryEmbedding::RotaryEmbedding(const RopeOptions& options)
    : options_(options), frequencies_(make_frequencies(options, options.short_factors)) {
  if (options.kind == RopeKind::kLongRope) {
    long_frequencies_ = make_frequencies(options, options.long_factors);
  }
}

RotaryTables RotaryEmbedding::tables(const Tensor& position_ids, at::ScalarType dtype) const {
  Tensor frequencies = frequencies_.to(position_ids.device());
  if (options_.kind == RopeKind::kLongRope) {
    // Chosen on the device: nobody waits for the positions.
    const Tensor is_long = position_ids.max() >= options_.original_max_position_embeddings;
    frequencies = at::where(is_long, long_frequencies_.to(position_ids.device()), frequencies);
  }
  const Tensor half = position_ids.to(at::kFloat).unsqueeze(-1) * frequencies;
  const Tensor angles = at::cat({half, half}, -1).unsqueeze(2);
  RotaryTables tables{angles.cos(), angles.sin()};
  if (options_.attention_factor != 1.0) {
    tables.cos.mul_(options_.attention_factor);
    tables.sin.mul_(options_.attention_factor);
  }
  return {tables.cos.to(dtype), tables.sin.to(dtype)};
}

Tensor apply_rotary(const Tensor& x, const RotaryTables& tables) {
  if (ops::runs_decoder_kernels(x)) return ops::rotate(x, tables.cos, tables.sin);
  const int64_t rotary_dim = tables.cos.size(-1);
  if (rotary_dim < x.size(-1)) {
    return at::cat({apply_rotary(x.narrow(-1, 0, rotary_dim), tables),
                    x.narrow(-1, rotary_dim, x.size(-1) - rotary_dim)},
                   -1);
  }
  const auto halves = x.chunk(2, -1);
  return x * tables.cos + at::cat({-halves[1], halves[0]}, -1) * tables.sin;
}

int64_t rotation_of(const ModelConfig& config, int64_t tokens) {
  return std::count_if(config.attention_kinds.begin(), config.attention_kinds.end(),
                       [&](const AttentionKind& kind) {
                         return kind.rope.kind == RopeKind::kLongRope &&
                                tokens > kind.rope.original_max_position_embeddings;
                       });
}

}  // namespace nibble::models
