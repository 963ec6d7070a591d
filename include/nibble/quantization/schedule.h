#pragma once

#include <torch/nn/module.h>

#include <cstdint>
#include <optional>

namespace nibble {

/// Delayed fake quantization: off for steps 0..N-1, on from step N, separately for activations and
/// weights. What is on depends on the step alone, so a resumed run is right by construction.
struct FakeQuantSchedule {
  int64_t activation_delay_steps = 0;
  int64_t weight_delay_steps = 0;

  bool activations_on(int64_t step) const { return step >= activation_delay_steps; }
  bool weights_on(int64_t step) const { return step >= weight_delay_steps; }
  bool anything_on(int64_t step) const { return activations_on(step) || weights_on(step); }

  /// Sets every prepared Linear of `model` for `step` (0-based, about to run).
  void apply(torch::nn::Module& model, int64_t step) const;
};

}  // namespace nibble
