#include <nibble/train/lr_schedule.h>

#include <gtest/gtest.h>

namespace nibble::train {
namespace {

Recipe recipe_with(LrDecayStyle style) {
  Recipe recipe;
  recipe.optimizer.lr = 1.0;
  LrSchedulerRecipe scheduler;
  scheduler.lr_decay_style = style;
  scheduler.lr_warmup_steps = 10;
  scheduler.lr_decay_steps = 110;
  scheduler.init_lr = 0.0;
  scheduler.min_lr = 0.2;
  recipe.lr_scheduler = scheduler;
  return recipe;
}

TEST(LrSchedule, WithoutASectionTheRateIsConstant) {
  Recipe recipe;
  recipe.optimizer.lr = 3e-5;
  const LrSchedule schedule(recipe, 100);
  for (int64_t step : {0, 1, 50, 99, 1000}) EXPECT_EQ(schedule.at(step), 3e-5);
}

TEST(LrSchedule, WarmsUpLinearlyFromInitToMax) {
  const LrSchedule schedule(recipe_with(LrDecayStyle::kCosine), 200);
  EXPECT_DOUBLE_EQ(schedule.at(0), 0.0);
  EXPECT_DOUBLE_EQ(schedule.at(5), 0.5);
  EXPECT_DOUBLE_EQ(schedule.at(10), 1.0);
}

TEST(LrSchedule, DecaysToMinAndStaysThere) {
  for (const LrDecayStyle style : {LrDecayStyle::kLinear, LrDecayStyle::kCosine}) {
    const LrSchedule schedule(recipe_with(style), 200);
    EXPECT_NEAR(schedule.at(60), 0.6, 1e-12);  // half-way both coefficients are 0.5
    EXPECT_NEAR(schedule.at(110), 0.2, 1e-12);
    EXPECT_EQ(schedule.at(111), 0.2);
  }
  const LrSchedule cosine(recipe_with(LrDecayStyle::kCosine), 200);
  EXPECT_NEAR(cosine.at(35), 0.2 + 0.8 * 0.85355339059, 1e-9);  // (cos(pi / 4) + 1) / 2
}

TEST(LrSchedule, InverseSquareRootFallsWithTheStep) {
  const LrSchedule schedule(recipe_with(LrDecayStyle::kInverseSquareRoot), 200);
  EXPECT_NEAR(schedule.at(40), 0.5, 1e-12);
  EXPECT_NEAR(schedule.at(90), 1.0 / 3, 1e-12);
}

TEST(LrSchedule, WsdHoldsThenDecays) {
  Recipe recipe = recipe_with(LrDecayStyle::kWsd);
  recipe.lr_scheduler->wsd_decay_steps = 20;
  const LrSchedule schedule(recipe, 200);
  EXPECT_EQ(schedule.at(50), 1.0);
  EXPECT_EQ(schedule.at(90), 1.0);
  EXPECT_NEAR(schedule.at(100), 0.6, 1e-12);
  EXPECT_NEAR(schedule.at(110), 0.2, 1e-12);
}

TEST(LrSchedule, DefaultsFollowTheLengthOfTheRun) {
  Recipe recipe;
  recipe.optimizer.lr = 1.0;
  recipe.lr_scheduler = LrSchedulerRecipe{};
  const LrSchedule schedule(recipe, 500);
  EXPECT_DOUBLE_EQ(schedule.at(0), 0.1);
  EXPECT_DOUBLE_EQ(schedule.at(50), 1.0);
  EXPECT_NEAR(schedule.at(500), 0.01, 1e-12);
}

}  // namespace
}  // namespace nibble::train
