#include <nibble/train/lr_schedule.h>

#include <algorithm>
#include <cmath>
#include <numbers>

namespace nibble::train {
namespace {

/// From 1 at `progress` 0 to 0 at `progress` 1.
double falling(LrDecayStyle style, double progress) {
  return style == LrDecayStyle::kCosine ? 0.5 * (std::cos(std::numbers::pi * progress) + 1.0)
                                        : 1.0 - progress;
}

}  // namespace

LrSchedule::LrSchedule(const Recipe& recipe, int64_t total_steps) {
  const double lr = recipe.optimizer.lr;
  max_lr_ = lr;
  if (!recipe.lr_scheduler.has_value()) return;
  const LrSchedulerRecipe& scheduler = *recipe.lr_scheduler;
  style_ = scheduler.lr_decay_style;
  wsd_style_ = scheduler.lr_wsd_decay_style;
  warmup_steps_ = scheduler.lr_warmup_steps.value_or(std::min<int64_t>(1000, total_steps / 10));
  decay_steps_ = scheduler.lr_decay_steps.value_or(total_steps);
  wsd_decay_steps_ = scheduler.wsd_decay_steps.value_or(0);
  init_lr_ = scheduler.init_lr.value_or(0.1 * lr);
  max_lr_ = scheduler.max_lr.value_or(lr);
  min_lr_ = scheduler.min_lr.value_or(0.01 * lr);
}

double LrSchedule::at(int64_t step) const {
  if (warmup_steps_ > 0 && step <= warmup_steps_) {
    return init_lr_ +
           (max_lr_ - init_lr_) * static_cast<double>(step) / static_cast<double>(warmup_steps_);
  }
  if (style_ == LrDecayStyle::kConstant) return max_lr_;
  if (step > decay_steps_) return min_lr_;
  if (style_ == LrDecayStyle::kInverseSquareRoot) {
    const double warmup = static_cast<double>(std::max<int64_t>(warmup_steps_, 1));
    return std::max(min_lr_,
                    max_lr_ * std::sqrt(warmup / static_cast<double>(std::max<int64_t>(step, 1))));
  }
  return min_lr_ + decay_coefficient(step) * (max_lr_ - min_lr_);
}

double LrSchedule::decay_coefficient(int64_t step) const {
  if (style_ == LrDecayStyle::kWsd) {
    const int64_t start = decay_steps_ - wsd_decay_steps_;
    if (step <= start) return 1.0;
    return falling(wsd_style_,
                   static_cast<double>(step - start) / static_cast<double>(wsd_decay_steps_));
  }
  const int64_t length = decay_steps_ - warmup_steps_;
  if (length <= 0) return 0.0;
  return falling(style_, static_cast<double>(step - warmup_steps_) / static_cast<double>(length));
}

}  // namespace nibble::train
