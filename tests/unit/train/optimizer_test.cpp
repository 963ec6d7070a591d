#include <nibble/core/error.h>
#include <nibble/train/optimizer.h>

#include <torch/torch.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace nibble::train {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

NamedTensors make_parameters() {
  torch::manual_seed(5);
  return {{"a", torch::randn({7, 3}).requires_grad_()}, {"b", torch::randn({4}).requires_grad_()}};
}

void fill_gradients(const NamedTensors& parameters, int seed) {
  torch::manual_seed(seed);
  for (const auto& [name, parameter] : parameters) {
    parameter.mutable_grad() = torch::randn_like(parameter).detach();
  }
}

OptimizerRecipe adamw() {
  OptimizerRecipe recipe;
  recipe.betas = {0.9, 0.95};
  recipe.weight_decay = 0.1;
  return recipe;
}

TEST(Optimizer, StepsAsTorchsAdamWDoes) {
  const NamedTensors ours = make_parameters();
  const NamedTensors theirs = make_parameters();
  Optimizer optimizer(ours, adamw());
  torch::optim::AdamW reference(
      std::vector<torch::Tensor>{theirs[0].second, theirs[1].second},
      torch::optim::AdamWOptions(1e-2).betas({0.9, 0.95}).weight_decay(0.1));
  for (int step = 0; step < 5; ++step) {
    fill_gradients(ours, step);
    fill_gradients(theirs, step);
    optimizer.step(1e-2);
    reference.step();
  }
  for (size_t i = 0; i < ours.size(); ++i) {
    EXPECT_TRUE(torch::allclose(ours[i].second, theirs[i].second, 1e-5, 1e-7));
  }
}

TEST(Optimizer, StepBumpsTheParametersVersions) {
  const NamedTensors parameters = make_parameters();
  Optimizer optimizer(parameters, adamw());
  fill_gradients(parameters, 1);
  const uint32_t before = parameters[0].second._version();
  optimizer.step(1e-3);
  EXPECT_GT(parameters[0].second._version(), before);
}

TEST(Optimizer, ClippingIsTorchs) {
  const NamedTensors ours = make_parameters();
  const NamedTensors theirs = make_parameters();
  Optimizer optimizer(ours, adamw());
  fill_gradients(ours, 3);
  fill_gradients(theirs, 3);
  const double expected =
      torch::nn::utils::clip_grad_norm_({theirs[0].second, theirs[1].second}, 0.5);
  EXPECT_NEAR(optimizer.clip_grad_norm(0.5), expected, 1e-6);
  EXPECT_TRUE(torch::allclose(ours[0].second.grad(), theirs[0].second.grad()));
  fill_gradients(ours, 3);
  EXPECT_NEAR(optimizer.clip_grad_norm(std::nullopt), expected, 1e-6);
}

TEST(Optimizer, AGradientThatIsNotFiniteIsNamed) {
  const NamedTensors parameters = make_parameters();
  Optimizer optimizer(parameters, adamw());
  fill_gradients(parameters, 3);
  parameters[1].second.mutable_grad()[2] = std::numeric_limits<float>::infinity();
  EXPECT_THAT([&] { optimizer.clip_grad_norm(1.0); },
              ThrowsMessage<Error>(HasSubstr("the gradient of b holds NaN or infinite")));
}

TEST(Optimizer, AStateContinuesBitForBit) {
  const NamedTensors through = make_parameters();
  Optimizer straight(through, adamw());
  for (int step = 0; step < 2; ++step) {
    fill_gradients(through, step);
    straight.step(1e-2);
  }
  NamedTensors copied;
  for (const auto& [name, parameter] : through) {
    copied.emplace_back(name, parameter.detach().clone().requires_grad_());
  }
  Optimizer resumed(copied, adamw());
  resumed.load_state(straight.state());
  fill_gradients(through, 9);
  fill_gradients(copied, 9);
  straight.step(1e-2);
  resumed.step(1e-2);
  EXPECT_TRUE(torch::equal(through[0].second, copied[0].second));
  EXPECT_TRUE(torch::equal(through[1].second, copied[1].second));
}

TEST(Optimizer, AStateOfOtherParametersIsRefused) {
  Optimizer optimizer(make_parameters(), adamw());
  NamedTensors state = optimizer.state();
  state[0].first = "c.exp_avg";
  EXPECT_THAT([&] { optimizer.load_state(state); },
              ThrowsMessage<Error>(HasSubstr("lacks a.exp_avg")));
}

}  // namespace
}  // namespace nibble::train
