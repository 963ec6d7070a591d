#include <nibble/core/error.h>
#include <nibble/ops/fake_quant.h>
#include <nibble/ops/int8_weight_linear.h>

#include <torch/torch.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

// The product kernels are checked in tests/unit/kernels; here is which of them an operator takes,
// that all of them agree, gradients, devices and errors.
namespace nibble::ops {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;
using torch::Tensor;

/// A converted Linear's parameters.
struct Stored {
  Tensor packed, scales;
  std::optional<Tensor> zeros;
  bool symmetric;
  at::ScalarType dtype;

  Stored(at::IntArrayRef shape, int64_t group_size, bool is_symmetric, at::ScalarType weight_dtype)
      : symmetric(is_symmetric), dtype(weight_dtype) {
    const Tensor weight = torch::randn(shape).to(dtype);
    auto [codes, scale, zero] =
        quantize_weight(weight, group_size, symmetric, symmetric ? dtype : at::kBFloat16);
    packed = pack_int4(codes, symmetric);
    scales = scale;
    if (!symmetric) zeros = zero;
  }
  Tensor value(int64_t cols) const {
    return dequantize_packed_weight(packed, scales, zeros, cols, symmetric, dtype);
  }
};

/// |a - b| against the size of b, in units of what the dtype resolves.
double distance(const Tensor& a, const Tensor& b) {
  const double unit = b.scalar_type() == at::kFloat  ? 1e-4
                      : b.scalar_type() == at::kHalf ? 4e-3
                                                     : 2e-2;
  const Tensor expected = b.to(at::kDouble);
  return ((a.to(at::kDouble) - expected).norm() / (expected.norm() * unit)).item<double>();
}

class QuantizedLinear : public testing::TestWithParam<at::ScalarType> {
 protected:
  void SetUp() override { torch::manual_seed(1); }
};
INSTANTIATE_TEST_SUITE_P(Dtype, QuantizedLinear,
                         testing::Values(at::kFloat, at::kBFloat16, at::kHalf));

TEST_P(QuantizedLinear, EqualsTheProductWithTheDequantizedWeight) {
  for (const bool symmetric : {true, false}) {
    // Groups that the kernel takes, and that it does not.
    for (const auto& [cols, group_size] : {std::pair<int64_t, int64_t>{96, 32}, {60, 12}}) {
      const Stored weight({40, cols}, group_size, symmetric, GetParam());
      const Tensor bias = torch::randn({40}).to(GetParam());
      for (const int64_t tokens : {0, 1, 3, 16, 17, 70}) {
        const Tensor x = torch::randn({tokens, cols}).to(GetParam());
        const Tensor y =
            quantized_linear(x, weight.packed, weight.scales, weight.zeros, bias, symmetric);
        const Tensor expected = at::linear(x, weight.value(cols), bias);
        ASSERT_EQ(y.sizes(), expected.sizes());
        ASSERT_EQ(y.scalar_type(), GetParam());
        if (tokens > 0) {
          EXPECT_LT(distance(y, expected), 1.0) << tokens << " tokens";
        }
      }
    }
  }
}

TEST_P(QuantizedLinear, IsTheFloatProductBitForBitWhereAGradientIsRecorded) {
  for (const bool symmetric : {true, false}) {
    const Stored weight({40, 96}, 32, symmetric, GetParam());
    Tensor x = torch::randn({3, 96}).to(GetParam()).requires_grad_();
    const Tensor y = quantized_linear(x, weight.packed, weight.scales, weight.zeros, {}, symmetric);
    EXPECT_TRUE(torch::equal(y, at::linear(x, weight.value(96))));
    y.sum().backward();
    EXPECT_TRUE(x.grad().defined());
  }
}

TEST(QuantizedLinearTiles, GiveTheWholeProduct) {
  torch::manual_seed(1);
  const Stored weight({1500, 2048}, 128, true, at::kFloat);
  const Tensor x = torch::randn({2, 10, 2048}), bias = torch::randn({1500});
  const Tensor y = quantized_linear(x, weight.packed, weight.scales, {}, bias, true);
  EXPECT_EQ(y.sizes(), at::IntArrayRef({2, 10, 1500}));
  EXPECT_LT(distance(y, at::linear(x, weight.value(2048), bias)), 1.0);
}

class Int8Linear : public QuantizedLinear {};
INSTANTIATE_TEST_SUITE_P(Dtype, Int8Linear, testing::Values(at::kFloat, at::kBFloat16, at::kHalf));

TEST_P(Int8Linear, AgreesWithTheFakeQuantizedProduct) {
  for (const auto& [cols, group_size] : {std::pair<int64_t, int64_t>{96, 32}, {60, 12}}) {
    const Stored weight({40, cols}, group_size, true, GetParam());
    const Tensor bias = torch::randn({40}).to(GetParam());
    for (const int64_t tokens : {0, 1, 5, 70}) {
      const Tensor x = torch::randn({2, tokens, cols}).to(GetParam());
      const Tensor expected = at::linear(fake_quantize_activation(x), weight.value(cols), bias);
      const Tensor y = int8_dynamic_quantized_linear(x, weight.packed, weight.scales, bias);
      ASSERT_EQ(y.sizes(), expected.sizes());
      ASSERT_EQ(y.scalar_type(), GetParam());
      if (tokens > 0) {
        EXPECT_LT(distance(y, expected), 1.0) << tokens << " tokens";
      }
    }
  }
}

TEST_P(Int8Linear, FromCodesIsTheSameProduct) {
  const Stored weight({40, 96}, 32, true, GetParam());
  const Tensor x = torch::randn({5, 96}).to(GetParam());
  const auto [codes, scales, zeros] = quantize_activation(x);
  EXPECT_TRUE(
      torch::equal(int8_linear(codes, scales, zeros, weight.packed, weight.scales, {}, GetParam()),
                   int8_dynamic_quantized_linear(x, weight.packed, weight.scales, {})));
}

TEST_P(Int8Linear, ATokenDoesNotDependOnTheOthers) {
  const Stored weight({70, 96}, 32, true, GetParam());
  const Tensor x = torch::randn({13, 96}).to(GetParam());
  const Tensor together = int8_dynamic_quantized_linear(x, weight.packed, weight.scales, {});
  for (int64_t token = 0; token < 13; ++token) {
    EXPECT_TRUE(
        torch::equal(int8_dynamic_quantized_linear(x[token], weight.packed, weight.scales, {}),
                     together[token]));
  }
}

TEST_P(Int8Linear, GroupsOfNoEightsGiveTheBitsOfTheFakeQuantizedProduct) {
  const Stored weight({40, 60}, 12, true, GetParam());
  const Tensor x = torch::randn({12, 60}).to(GetParam());
  EXPECT_TRUE(torch::equal(
      int8_dynamic_quantized_linear(x, weight.packed, weight.scales, {}),
      quantized_linear(fake_quantize_activation(x), weight.packed, weight.scales, {}, {}, true)));
}

TEST_P(Int8Linear, IsTheFakeQuantizedProductBitForBitWhereAGradientIsRecorded) {
  const Stored weight({40, 96}, 32, true, GetParam());
  Tensor x = torch::randn({3, 96}).to(GetParam()).requires_grad_();
  const Tensor y = int8_dynamic_quantized_linear(x, weight.packed, weight.scales, {});
  const Tensor expected = at::linear(fake_quantize_activation(x), weight.value(96));
  EXPECT_TRUE(torch::equal(y, expected));
  const auto gradient = [&](const Tensor& output) {
    return torch::autograd::grad({output.sum()}, {x})[0];
  };
  EXPECT_TRUE(torch::equal(gradient(y), gradient(expected)));
}

class Int8WeightLinear : public QuantizedLinear {};
INSTANTIATE_TEST_SUITE_P(Dtype, Int8WeightLinear,
                         testing::Values(at::kFloat, at::kBFloat16, at::kHalf));

TEST_P(Int8WeightLinear, EqualsTheProductWithTheDequantizedWeight) {
  for (const int64_t groups : {1, 3}) {
    const Tensor codes = torch::randint(-127, 128, {40, 66}, at::kChar),
                 scales = torch::rand({40, groups});
    const Tensor bias = torch::randn({40}).to(GetParam());
    const Tensor weight =
        codes.to(at::kFloat).mul(scales.repeat_interleave(66 / groups, 1)).to(GetParam());
    EXPECT_TRUE(torch::equal(dequantize_int8_weight(codes, scales, GetParam()), weight));
    for (const int64_t tokens : {0, 1, 3, 8, 9}) {
      Tensor x = torch::randn({tokens, 66}).to(GetParam());
      const Tensor expected = at::linear(x, weight, bias);
      const Tensor y = int8_weight_linear(x, codes, scales, bias);
      ASSERT_EQ(y.sizes(), expected.sizes());
      ASSERT_EQ(y.scalar_type(), GetParam());
      if (tokens > 0) {
        EXPECT_LT(distance(y, expected), 1.0) << tokens << " tokens, " << groups << " groups";
      }
      x.requires_grad_();
      EXPECT_TRUE(
          torch::equal(int8_weight_linear(x, codes, scales, bias), at::linear(x, weight, bias)));
    }
  }
}

TEST_P(Int8WeightLinear, ManyTokensMeetTheWeightInTiles) {
  const Tensor codes = torch::randint(-127, 128, {2100, 1024}, at::kChar),
               scales = torch::rand({2100, 32}).div(1024);
  const Tensor x = torch::randn({2, 5, 1024}).to(GetParam()),
               bias = torch::randn({2100}).to(GetParam());
  const Tensor expected = at::linear(x, dequantize_int8_weight(codes, scales, GetParam()), bias);
  EXPECT_LT(distance(int8_weight_linear(x, codes, scales, bias), expected), 1.0);
}

TEST(Int8WeightLinearErrors, NameTheOperandThatDoesNotFit) {
  const Tensor x = torch::randn({2, 8}), codes = torch::zeros({4, 8}, at::kChar);
  EXPECT_THAT(
      [&] {
        int8_weight_linear(x, codes.to(at::kFloat), torch::rand({4, 1}), {});
      },
      ThrowsMessage<Error>(HasSubstr("codes must be int8")));
  EXPECT_THAT([&] { int8_weight_linear(x, codes, torch::rand({4}), {}); },
              ThrowsMessage<Error>(HasSubstr("scales must be Float [4, groups]")));
  EXPECT_THAT(
      [&] {
        int8_weight_linear(x.narrow(1, 0, 7), codes, torch::rand({4, 1}), {});
      },
      ThrowsMessage<Error>(HasSubstr("x must be [..., 8]")));
}

TEST(Int8LinearErrors, NameTheOperandThatDoesNotFit) {
  const Stored weight({40, 96}, 32, true, at::kFloat);
  const auto [codes, scales, zeros] = quantize_activation(torch::randn({5, 96}));
  const auto multiply = [&](const Tensor& x, const Tensor& x_scales, const Tensor& packed) {
    return int8_linear(x, x_scales, zeros, packed, weight.scales, {}, at::kFloat);
  };
  EXPECT_THAT([&] { multiply(codes.to(at::kFloat), scales, weight.packed); },
              ThrowsMessage<Error>(HasSubstr("x_codes must be int8")));
  EXPECT_THAT([&] { multiply(codes, scales.to(at::kHalf), weight.packed); },
              ThrowsMessage<Error>(HasSubstr("x_scales and x_zeros must be Float [5]")));
  EXPECT_THAT([&] { multiply(codes, scales.unsqueeze(0), weight.packed); },
              ThrowsMessage<Error>(HasSubstr("x_scales and x_zeros must be Float [5]")));
  EXPECT_THAT([&] { multiply(codes, scales, weight.packed.narrow(1, 0, 40)); },
              ThrowsMessage<Error>(HasSubstr("packed codes must be uint8")));
}

}  // namespace
}  // namespace nibble::ops
