#include <nibble/core/error.h>
#include <nibble/ops/cache_scope.h>
#include <nibble/ops/fake_quant.h>

#include <torch/torch.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <sstream>
#include <string>

namespace nibble::ops {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;
using torch::Tensor;

Tensor make_weight(at::ScalarType dtype = at::kFloat) {
  torch::manual_seed(21);
  return torch::randn({16, 64}).to(dtype).requires_grad_();
}

Tensor make_x(int64_t seed, at::ScalarType dtype = at::kFloat) {
  torch::manual_seed(seed);
  return torch::randn({5, 64}).to(dtype);
}

Tensor forward(const Tensor& x, const Tensor& weight, bool symmetric = true) {
  return fake_quantized_linear(x, weight, {}, 32, symmetric, at::kBFloat16);
}

Tensor loss_of(const Tensor& x, const Tensor& weight, bool symmetric = true) {
  return forward(x, weight, symmetric).square().sum();
}

Tensor same_values(const Tensor& weight) {
  return weight.detach().clone().requires_grad_(weight.requires_grad());
}

/// grad of fake_quantize_weight for an upstream gradient.
Tensor masked(const Tensor& weight, const Tensor& upstream, bool symmetric = true) {
  Tensor leaf = same_values(weight).requires_grad_();
  fake_quantize_weight(leaf, 32, symmetric, at::kBFloat16).backward(upstream);
  return leaf.grad();
}

TEST(CacheScope, OneMicroBatchGivesThePlainLoopsBits) {
  for (const bool symmetric : {true, false}) {
    for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
      const Tensor weight = make_weight(dtype), plain = make_weight(dtype);
      Tensor x = make_x(1, dtype).requires_grad_(), plain_x = make_x(1, dtype).requires_grad_();
      loss_of(plain_x, plain, symmetric).backward();
      CacheScope scope;
      loss_of(x, weight, symmetric).backward();
      EXPECT_FALSE(weight.grad().defined());
      EXPECT_EQ(scope.pending_gradients(), 1);
      scope.finalize_gradients();
      EXPECT_TRUE(torch::equal(weight.grad(), plain.grad()));
      EXPECT_TRUE(torch::equal(x.grad(), plain_x.grad()));
    }
  }
}

TEST(CacheScope, SeveralMicroBatchesAreMaskedOnceTogether) {
  for (const bool symmetric : {true, false}) {
    const Tensor weight = make_weight();
    CacheScope scope;
    for (int64_t seed : {1, 2, 3}) loss_of(make_x(seed), weight, symmetric).backward();
    EXPECT_EQ(scope.cached_weights(), 1);
    scope.finalize_gradients();
    EXPECT_EQ(scope.cached_weights(), 0);

    Tensor fq = fake_quantize_weight(weight.detach(), 32, symmetric, at::kBFloat16);
    fq.requires_grad_();
    for (int64_t seed : {1, 2, 3}) at::linear(make_x(seed), fq).square().sum().backward();
    EXPECT_TRUE(torch::allclose(weight.grad(), masked(weight, fq.grad(), symmetric), 1e-5, 1e-5));
    // Where the mask closes, exactly nothing arrives.
    const Tensor closed = masked(weight, torch::ones_like(weight), symmetric).eq(0);
    EXPECT_EQ(closed.any().item<bool>(), symmetric);  // the affine range holds every value
    EXPECT_TRUE(weight.grad().masked_select(closed).eq(0).all().item<bool>());
  }
}

TEST(CacheScope, LaterForwardsHaveTheFirstOnesBits) {
  for (const bool symmetric : {true, false}) {
    for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16, at::kHalf}) {
      const Tensor weight = make_weight(dtype);
      const Tensor x = make_x(1, dtype);
      const Tensor expected = forward(x, weight, symmetric);
      CacheScope scope;
      EXPECT_TRUE(torch::equal(forward(x, weight, symmetric), expected));
      EXPECT_TRUE(torch::equal(forward(x, weight, symmetric), expected));
      const torch::NoGradGuard no_grad;
      EXPECT_TRUE(torch::equal(forward(x, weight, symmetric), expected));
    }
  }
}

TEST(CacheScope, GradientsOfOtherUsesAreNotMasked) {
  const Tensor weight = make_weight(), alone = make_weight();
  {
    CacheScope scope;
    loss_of(make_x(1), alone).backward();
    scope.finalize_gradients();
  }
  CacheScope scope;
  (loss_of(make_x(1), weight) + weight.sum()).backward();
  EXPECT_TRUE(torch::equal(weight.grad(), torch::ones_like(weight)));
  scope.finalize_gradients();
  EXPECT_TRUE(torch::equal(weight.grad(), alone.grad() + 1));
}

TEST(CacheScope, GradientsAddToThoseOfEarlierScopes) {
  const Tensor weight = make_weight(), once = make_weight();
  CacheScope scope;
  loss_of(make_x(1), once).backward();
  scope.finalize_gradients();
  for (int i = 0; i < 2; ++i) {
    loss_of(make_x(1), weight).backward();
    scope.finalize_gradients();
  }
  EXPECT_TRUE(torch::equal(weight.grad(), once.grad() * 2));
}

TEST(CacheScope, AFrozenWeightThatIsThawedGetsItsGradient) {
  const Tensor weight = make_weight(), plain = make_weight();
  loss_of(make_x(1), plain).backward();
  CacheScope scope;
  weight.set_requires_grad(false);
  forward(make_x(1).requires_grad_(), weight).sum().backward();
  EXPECT_EQ(scope.pending_gradients(), 0);
  weight.set_requires_grad(true);
  loss_of(make_x(1), weight).backward();
  scope.finalize_gradients();
  EXPECT_TRUE(torch::equal(weight.grad(), plain.grad()));
}

TEST(CacheScope, ABackwardAfterTheScopeGoesThroughAutograd) {
  const Tensor weight = make_weight(), plain = make_weight();
  Tensor loss;
  {
    CacheScope scope;
    loss = loss_of(make_x(1), weight);
  }
  loss.backward();
  loss_of(make_x(1), plain).backward();
  EXPECT_TRUE(torch::equal(weight.grad(), plain.grad()));
}

/// Every way to change a weight that a training program has.
using Change = std::function<void(Tensor& weight)>;

void give_gradient(Tensor& weight) {
  torch::manual_seed(31);
  weight.mutable_grad() = torch::randn_like(weight);
}

const std::map<std::string, Change>& changes() {
  static const std::map<std::string, Change> all = {
      {"fused AdamW",
       [](Tensor& weight) {
         give_gradient(weight);
         const torch::NoGradGuard no_grad;
         std::vector<Tensor> weights{weight}, gradients{weight.grad()};
         std::vector<Tensor> first{torch::zeros_like(weight)}, second{torch::zeros_like(weight)};
         std::vector<Tensor> steps{torch::ones({}, at::kFloat)};
         at::_fused_adamw_(weights, gradients, first, second, {}, steps, 0.1, 0.9, 0.95, 0.0, 1e-8,
                           false, false);
       }},
      {"SGD",
       [](Tensor& weight) {
         give_gradient(weight);
         torch::optim::SGD({weight}, torch::optim::SGDOptions(0.1)).step();
       }},
      {"AdamW",
       [](Tensor& weight) {
         give_gradient(weight);
         torch::optim::AdamW({weight}, torch::optim::AdamWOptions(0.1)).step();
       }},
      {".data()", [](Tensor& weight) { weight.data().mul_(1.5); }},
      {"raw memory", [](Tensor& weight) { weight.data_ptr<float>()[3] += 5.0f; }},
      {"copy_",
       [](Tensor& weight) {
         const torch::NoGradGuard no_grad;
         weight.copy_(make_x(7).repeat({4, 1}).narrow(0, 0, 16));
       }},
      {"set_data", [](Tensor& weight) { weight.set_data(weight.detach() * 2); }},
      {"to(dtype) and back",
       [](Tensor& weight) {
         weight.set_data(weight.detach().to(at::kBFloat16));
         weight.set_data(weight.detach().to(at::kFloat) * 1.25);
       }},
      {"torch::load",
       [](Tensor& weight) {
         std::stringstream stream;
         torch::save(weight.detach() * 0.5, stream);
         Tensor loaded;
         torch::load(loaded, stream);
         const torch::NoGradGuard no_grad;
         weight.set_data(loaded);
       }},
  };
  return all;
}

TEST(CacheScope, AfterFinalizeEveryChangeIsSeen) {
  for (const auto& [name, change] : changes()) {
    SCOPED_TRACE(name);
    Tensor weight = make_weight();
    CacheScope scope;
    loss_of(make_x(1), weight).backward();
    scope.finalize_gradients();
    const Tensor before = forward(make_x(2), weight).detach();
    scope.finalize_gradients();
    change(weight);
    weight.mutable_grad() = Tensor();
    const Tensor fresh = same_values(weight);
    const Tensor y = forward(make_x(2), weight);
    EXPECT_FALSE(torch::equal(y, before)) << "the change changed nothing";
    EXPECT_TRUE(torch::equal(y, forward(make_x(2), fresh)));
    y.square().sum().backward();
    scope.finalize_gradients();
    loss_of(make_x(2), fresh).backward();
    scope.finalize_gradients();
    EXPECT_TRUE(torch::equal(weight.grad(), fresh.grad()));
  }
}

TEST(CacheScope, WithoutAScopeEveryChangeIsSeen) {
  for (const auto& [name, change] : changes()) {
    SCOPED_TRACE(name);
    Tensor weight = make_weight();
    loss_of(make_x(1), weight).backward();
    change(weight);
    EXPECT_TRUE(torch::equal(forward(make_x(2), weight), forward(make_x(2), same_values(weight))));
  }
}

TEST(CacheScope, AChangeInTheMiddleIsSeenOrRefused) {
  for (const auto& [name, change] : changes()) {
    SCOPED_TRACE(name);
    Tensor weight = make_weight();
    CacheScope scope(/*verify=*/true);
    forward(make_x(2), weight);
    change(weight);
    Tensor y;
    try {
      y = forward(make_x(2), weight);
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr("call finalize_gradients() before weights change"));
      continue;
    }
    EXPECT_TRUE(torch::equal(
        y.detach(),
        at::linear(make_x(2), fake_quantize_weight(weight.detach(), 32, true, at::kBFloat16))));
  }
}

TEST(CacheScope, AChangeInTheMiddleKeepsTheGradientSoFar) {
  const Tensor weight = make_weight(), plain = make_weight();
  CacheScope scope;
  loss_of(make_x(1), weight).backward();
  {
    const torch::NoGradGuard no_grad;
    weight.mul_(1.5);
  }
  loss_of(make_x(1), weight).backward();
  scope.finalize_gradients();
  Tensor changed = (plain.detach() * 1.5).requires_grad_();
  loss_of(make_x(1), plain).backward();
  loss_of(make_x(1), changed).backward();
  scope.finalize_gradients();
  EXPECT_TRUE(torch::equal(weight.grad(), plain.grad() + changed.grad()));
}

TEST(CacheScope, ASecondOneIsRefused) {
  CacheScope scope;
  EXPECT_THAT([] { CacheScope second; }, ThrowsMessage<Error>(HasSubstr("open on this thread")));
  EXPECT_EQ(scope.cached_weights(), 0);
}

TEST(CacheScope, GradientsThatWereNotFinalizedAreDroppedAloud) {
  const Tensor weight = make_weight();
  testing::internal::CaptureStderr();
  {
    CacheScope scope;
    loss_of(make_x(1), weight).backward();
  }
  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("1 weights not finalized"));
  EXPECT_FALSE(weight.grad().defined());
}

}  // namespace
}  // namespace nibble::ops
