#include <nibble/nn/fake_quant_linear.h>
#include <nibble/nn/swap.h>

#include <torch/torch.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace nibble::nn {
namespace {

using testing::ElementsAre;

const QuantizationSpec kSpec{Scheme::k4w, 8, at::kFloat, WeightGrid::kSymmetric};

std::vector<std::string> paths(const std::vector<LinearSite>& sites) {
  std::vector<std::string> result;
  for (const LinearSite& site : sites) result.push_back(site.path);
  return result;
}

void replace_all(torch::nn::Module& root) {
  for (LinearSite& site : find_linears(root)) {
    site.replace_with(std::make_shared<FakeQuantLinearImpl>(site.weight(), site.bias(), kSpec));
  }
}

TEST(Swap, FindsEveryLinearOnce) {
  torch::nn::Sequential shared(torch::nn::Linear(8, 8));
  auto root = std::make_shared<torch::nn::Module>();
  root->register_module("first", shared);
  root->register_module("second", shared);
  root->register_module("third", Linear(8, 8));
  const auto sites = find_linears(*root);
  EXPECT_THAT(paths(sites), ElementsAre("first.0", "third"));
  EXPECT_EQ(sites[0].kind, LinearSite::Kind::kPlain);
  EXPECT_EQ(sites[1].kind, LinearSite::Kind::kNibble);
}

TEST(Swap, SequentialCallsTheReplacement) {
  torch::nn::Sequential model(torch::nn::Linear(8, 8), torch::nn::ReLU(), torch::nn::Linear(8, 4));
  const torch::Tensor x = torch::randn({3, 8});
  const torch::Tensor before = model->forward(x);
  for (const LinearSite& site : find_linears(*model)) EXPECT_FALSE(site.has_hidden_owner());
  replace_all(*model);
  EXPECT_FALSE(torch::equal(model->forward(x), before));
  EXPECT_NE(model->ptr(0)->as<FakeQuantLinear>(), nullptr);
  EXPECT_NE(model->named_children()["2"]->as<FakeQuantLinear>(), nullptr);
}

TEST(Swap, ModuleListAndModuleDictHandOutTheReplacement) {
  torch::nn::ModuleList list(torch::nn::Linear(8, 8));
  torch::nn::ModuleDict dict;
  dict->update({{"fc", torch::nn::Linear(8, 8).ptr()}});
  for (torch::nn::Module* root :
       std::initializer_list<torch::nn::Module*>{list.get(), dict.get()}) {
    EXPECT_FALSE(find_linears(*root).at(0).has_hidden_owner());
    replace_all(*root);
  }
  EXPECT_NE(list->ptr(0)->as<FakeQuantLinear>(), nullptr);
  EXPECT_NE(dict["fc"]->as<FakeQuantLinear>(), nullptr);
}

struct TypedMember : torch::nn::Module {
  TypedMember() { fc = register_module("fc", torch::nn::Linear(8, 8)); }
  torch::nn::Linear fc{nullptr};
};

TEST(Swap, ATypedMemberIsAHiddenOwner) {
  TypedMember model;
  EXPECT_TRUE(find_linears(model).at(0).has_hidden_owner());
}

TEST(Swap, AModuleUnderTwoNamesIsOneSiteWithTwoHolders) {
  auto model = std::make_shared<torch::nn::Module>();
  auto fc = std::make_shared<torch::nn::LinearImpl>(8, 8);
  model->register_module("a", fc);
  model->register_module("b", fc);
  fc.reset();
  const auto sites = find_linears(*model);
  ASSERT_EQ(sites.size(), 1);
  EXPECT_EQ(sites[0].holders.size(), 2);
  EXPECT_FALSE(sites[0].has_hidden_owner());
  replace_all(*model);
  EXPECT_EQ(model->named_children()["a"], model->named_children()["b"]);
}

}  // namespace
}  // namespace nibble::nn
