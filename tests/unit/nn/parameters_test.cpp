#include <nibble/nn/linear.h>
#include <nibble/nn/parameters.h>

#include <torch/torch.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace nibble::nn {
namespace {

std::vector<std::string> names_of(const torch::nn::Module& model) {
  std::vector<std::string> names;
  for (const auto& [name, tensor] : unique_named_parameters(model)) names.push_back(name);
  return names;
}

TEST(Parameters, SharedOnesAreListedOnceUnderTheirFirstName) {
  torch::nn::Module model;
  const auto embedding = model.register_module("embed", torch::nn::Embedding(10, 4));
  model.register_module("head", Linear(embedding->weight, torch::Tensor()));
  model.register_module("fc", Linear(4, 3));
  EXPECT_THAT(names_of(model), testing::ElementsAre("embed.weight", "fc.weight", "fc.bias"));
  EXPECT_EQ(parameter_count(model), 10 * 4 + 3 * 4 + 3);
}

TEST(Parameters, CodesOfAQuantizedLinearAreNone) {
  torch::nn::Module model;
  Linear linear = model.register_module("fc", Linear(32, 3));
  linear->prepare({.group_size = 32});
  EXPECT_EQ(parameter_count(model), 32 * 3 + 3);
  linear->convert();
  EXPECT_THAT(names_of(model), testing::ElementsAre("fc.bias"));
}

}  // namespace
}  // namespace nibble::nn
