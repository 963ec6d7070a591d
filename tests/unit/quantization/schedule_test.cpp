#include <nibble/nn/linear.h>
#include <nibble/quantization/quantizer.h>
#include <nibble/quantization/schedule.h>

#include <torch/torch.h>

#include <gtest/gtest.h>

namespace nibble {
namespace {

TEST(Schedule, PartsComeOnAtTheirOwnStep) {
  torch::nn::Sequential model(nn::Linear(32, 32));
  Int8DynActInt4WeightQATQuantizer(16).prepare(model);
  const auto& linear = *model->ptr(0)->as<nn::LinearImpl>();
  const FakeQuantSchedule schedule{.activation_delay_steps = 3, .weight_delay_steps = 1};
  for (int64_t step : {0, 1, 2, 3, 4, 0}) {
    schedule.apply(*model, step);
    EXPECT_EQ(linear.weight_fake_quant_enabled(), step >= 1) << step;
    EXPECT_EQ(linear.activation_fake_quant_enabled(), step >= 3) << step;
    EXPECT_EQ(schedule.anything_on(step), step >= 1) << step;
  }
}

TEST(Schedule, WithoutADelayEverythingIsOnFromStepZero) {
  const FakeQuantSchedule schedule;
  EXPECT_TRUE(schedule.activations_on(0) && schedule.weights_on(0));
}

}  // namespace
}  // namespace nibble
