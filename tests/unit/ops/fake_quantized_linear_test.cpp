#include <nibble/core/error.h>
#include <nibble/ops/fake_quant.h>

#include <ATen/autocast_mode.h>
#include <torch/torch.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

// The fused node against the composition of the ops it stands for, bit for bit.
namespace nibble::ops {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;
using torch::Tensor;

constexpr int64_t kIn = 64, kOut = 24, kGroup = 32;

/// Leaves of one Linear; copies are independent leaves with the same values.
struct Leaves {
  Tensor x, weight, bias;

  static Leaves make(at::ScalarType dtype, const std::vector<int64_t>& tokens, bool with_bias) {
    torch::manual_seed(11);
    std::vector<int64_t> shape = tokens;
    shape.push_back(kIn);
    Leaves leaves{torch::randn(shape).to(dtype).requires_grad_(),
                  torch::randn({kOut, kIn}).to(dtype).requires_grad_(), Tensor()};
    if (with_bias) leaves.bias = torch::randn({kOut}).to(dtype).requires_grad_();
    return leaves;
  }
  Leaves copy() const {
    const auto leaf = [](const Tensor& tensor) {
      return tensor.defined() ? tensor.detach().clone().set_requires_grad(tensor.requires_grad())
                              : Tensor();
    };
    return {leaf(x), leaf(weight), leaf(bias)};
  }
};

at::ScalarType scale_dtype_of(bool symmetric) { return symmetric ? at::kFloat : at::kBFloat16; }

Tensor fused(const Leaves& leaves, bool symmetric) {
  return fake_quantized_linear(leaves.x, leaves.weight, leaves.bias, kGroup, symmetric,
                               scale_dtype_of(symmetric));
}

Tensor composed(const Leaves& leaves, bool symmetric) {
  return at::linear(
      leaves.x, fake_quantize_weight(leaves.weight, kGroup, symmetric, scale_dtype_of(symmetric)),
      leaves.bias);
}

void expect_equal(const Tensor& got, const Tensor& expected, const char* what) {
  ASSERT_EQ(got.defined(), expected.defined()) << what;
  if (!got.defined()) return;
  EXPECT_EQ(got.scalar_type(), expected.scalar_type()) << what;
  EXPECT_TRUE(torch::equal(got, expected)) << what;
}

template <class Forward>
void run(const Forward& forward, const Leaves& leaves, bool symmetric, Tensor& y) {
  y = forward(leaves, symmetric);
  torch::manual_seed(12);
  y.backward(torch::randn(y.sizes()).to(y.scalar_type()));
}

void expect_same_as_composed(const Leaves& leaves, bool symmetric) {
  const Leaves other = leaves.copy();
  Tensor y, expected;
  run(fused, leaves, symmetric, y);
  run(composed, other, symmetric, expected);
  expect_equal(y, expected, "y");
  expect_equal(leaves.x.grad(), other.x.grad(), "grad x");
  expect_equal(leaves.weight.grad(), other.weight.grad(), "grad weight");
  if (leaves.bias.defined()) expect_equal(leaves.bias.grad(), other.bias.grad(), "grad bias");
}

class FakeQuantizedLinear : public testing::TestWithParam<std::tuple<at::ScalarType, bool, bool>> {
};
INSTANTIATE_TEST_SUITE_P(Ops, FakeQuantizedLinear,
                         testing::Combine(testing::Values(at::kFloat, at::kBFloat16),
                                          testing::Bool(), testing::Bool()));

TEST_P(FakeQuantizedLinear, EqualsTheComposedOpsAtEveryRank) {
  const auto [dtype, symmetric, with_bias] = GetParam();
  for (const std::vector<int64_t>& tokens :
       {std::vector<int64_t>{}, {5}, {2, 3}, {2, 1, 4}, {0}, {2, 0}}) {
    SCOPED_TRACE(testing::PrintToString(tokens));
    expect_same_as_composed(Leaves::make(dtype, tokens, with_bias), symmetric);
  }
}

TEST_P(FakeQuantizedLinear, GivesOnlyTheGradientsThatAreAskedFor) {
  const auto [dtype, symmetric, with_bias] = GetParam();
  for (const bool x_trains : {false, true}) {
    for (const bool weight_trains : {false, true}) {
      Leaves leaves = Leaves::make(dtype, {6}, with_bias);
      leaves.x.set_requires_grad(x_trains);
      leaves.weight.set_requires_grad(weight_trains);
      if (!x_trains && !weight_trains && !with_bias) {
        EXPECT_FALSE(fused(leaves, symmetric).requires_grad());
        continue;
      }
      expect_same_as_composed(leaves, symmetric);
    }
  }
}

TEST(FakeQuantizedLinearGraph, NoGradMakesNone) {
  const Leaves leaves = Leaves::make(at::kFloat, {4}, true);
  const Tensor expected = fused(leaves, true).detach();
  const torch::NoGradGuard no_grad;
  const Tensor y = fused(leaves, true);
  EXPECT_FALSE(y.requires_grad());
  EXPECT_TRUE(torch::equal(y, expected));
}

TEST(FakeQuantizedLinearGraph, UsedTwiceInAForwardTheGradientsAdd) {
  const Leaves leaves = Leaves::make(at::kFloat, {4}, false);
  const Leaves other = leaves.copy();
  const auto twice = [](const auto& forward, const Leaves& of) {
    return (forward(of, true).square() + forward(Leaves{of.x * 2, of.weight, of.bias}, true)).sum();
  };
  twice(fused, leaves).backward();
  twice(composed, other).backward();
  EXPECT_TRUE(torch::allclose(leaves.weight.grad(), other.weight.grad(), 1e-6, 1e-6));
  EXPECT_TRUE(torch::allclose(leaves.x.grad(), other.x.grad(), 1e-6, 1e-6));
}

TEST(FakeQuantizedLinearGraph, DoubleBackwardIsRefused) {
  const Leaves leaves = Leaves::make(at::kFloat, {4}, false);
  const Tensor loss = fused(leaves, true).square().sum();
  EXPECT_THAT([&] { torch::autograd::grad({loss}, {leaves.x}, {}, true, /*create_graph=*/true); },
              ThrowsMessage<std::exception>(HasSubstr("cannot be differentiated again")));
}

TEST(FakeQuantizedLinearGraph, AWeightChangedBeforeBackwardKeepsTheForwardsGrid) {
  const Leaves leaves = Leaves::make(at::kFloat, {4}, false);
  const Leaves other = leaves.copy();
  const Tensor y = fused(leaves, true);
  {
    const torch::NoGradGuard no_grad;
    leaves.weight.mul_(3);
  }
  y.sum().backward();
  composed(other, true).sum().backward();
  EXPECT_TRUE(torch::equal(leaves.x.grad(), other.x.grad()));
  EXPECT_TRUE(torch::equal(leaves.weight.grad(), other.weight.grad()));
}

/// bfloat16 autocast on the CPU for the lifetime of the object.
class CpuAutocast {
 public:
  CpuAutocast() {
    at::autocast::set_autocast_dtype(at::kCPU, at::kBFloat16);
    at::autocast::set_autocast_enabled(at::kCPU, true);
  }
  ~CpuAutocast() {
    at::autocast::clear_cache();
    at::autocast::set_autocast_enabled(at::kCPU, false);
  }
};

TEST(FakeQuantizedLinearAutocast, QuantizesTheMastersAndMultipliesInBfloat16) {
  for (const bool symmetric : {true, false}) {
    const Leaves leaves = Leaves::make(at::kFloat, {2, 5}, true);
    const Leaves other = leaves.copy();
    {
      const CpuAutocast autocast;
      const Tensor x = fake_quantize_activation(leaves.x, at::kBFloat16);
      const Tensor y = fused({x, leaves.weight, leaves.bias}, symmetric);
      EXPECT_EQ(y.scalar_type(), at::kBFloat16);
      // at::linear casts values that were quantized in float32.
      const Tensor expected =
          composed({fake_quantize_activation(other.x), other.weight, other.bias}, symmetric);
      EXPECT_TRUE(torch::equal(y, expected));
      y.backward(torch::ones_like(y));
      expected.backward(torch::ones_like(y));
    }
    expect_equal(leaves.x.grad(), other.x.grad(), "grad x");
    expect_equal(leaves.weight.grad(), other.weight.grad(), "grad weight");
    EXPECT_TRUE(torch::allclose(leaves.bias.grad(), other.bias.grad()));
  }
}

TEST(FakeQuantizedLinearErrors, SayWhatDoesNotFit) {
  const Leaves leaves = Leaves::make(at::kFloat, {4}, false);
  const Tensor other_dtype = leaves.x.to(at::kBFloat16);
  EXPECT_THAT(
      [&] {
        fused({other_dtype, leaves.weight, {}}, true);
      },
      ThrowsMessage<Error>(HasSubstr("input is BFloat16 and weight Float")));
  EXPECT_THAT(
      [&] {
        fused({leaves.x.narrow(-1, 0, 32), leaves.weight, {}}, true);
      },
      ThrowsMessage<Error>(HasSubstr("[24, 64] takes inputs")));
  EXPECT_THAT([&] { fake_quantized_linear(leaves.x, leaves.weight, {}, 48, true, at::kFloat); },
              ThrowsMessage<Error>(HasSubstr("group_size 48 does not divide in_features 64")));
}

}  // namespace
}  // namespace nibble::ops
