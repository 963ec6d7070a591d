#pragma once

#include <nibble/train/recipe.h>

#include <cstdint>

namespace nibble::train {

/// The learning rate of every optimizer step: linear warm-up from init_lr to max_lr, then a decay
/// to min_lr. Source: Megatron's OptimizerParamScheduler, which NeMo Automodel uses.
class LrSchedule {
 public:
  /// Without a scheduler section the learning rate is constant. Defaults that depend on the length
  /// of the run are those of LrSchedulerRecipe.
  LrSchedule(const Recipe& recipe, int64_t total_steps);

  /// The rate of step `step`, 0-based.
  double at(int64_t step) const;

 private:
  double decay_coefficient(int64_t step) const;

  LrDecayStyle style_ = LrDecayStyle::kConstant;
  LrDecayStyle wsd_style_ = LrDecayStyle::kLinear;
  double init_lr_ = 0;
  double max_lr_ = 0;
  double min_lr_ = 0;
  int64_t warmup_steps_ = 0;
  int64_t decay_steps_ = 0;
  int64_t wsd_decay_steps_ = 0;
};

}  // namespace nibble::train
