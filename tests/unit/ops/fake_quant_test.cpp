#include <nibble/core/error.h>
#include <nibble/ops/fake_quant.h>

#include <torch/torch.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

// Values are checked by the golden vectors; here are shapes, gradients, devices and errors.
namespace nibble::ops {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;
using torch::Tensor;

Tensor weight_like(at::ScalarType dtype, std::vector<int64_t> shape = {6, 64}) {
  torch::manual_seed(1);
  return torch::randn(shape).to(dtype);
}

class EveryDtype : public testing::TestWithParam<at::ScalarType> {};
INSTANTIATE_TEST_SUITE_P(FakeQuant, EveryDtype,
                         testing::Values(at::kFloat, at::kBFloat16, at::kHalf));

TEST_P(EveryDtype, CodesAndScalesGiveTheFakeQuantizedWeight) {
  const Tensor weight = weight_like(GetParam());
  for (const bool symmetric : {true, false}) {
    const at::ScalarType scale_dtype = symmetric ? GetParam() : at::kBFloat16;
    const auto [codes, scales, zeros] = quantize_weight(weight, 16, symmetric, scale_dtype);
    EXPECT_EQ(codes.scalar_type(), at::kChar);
    EXPECT_EQ(scales.sizes(), at::IntArrayRef({6, 4}));
    EXPECT_EQ(scales.scalar_type(), scale_dtype);
    const Tensor packed = pack_int4(codes, symmetric);
    EXPECT_TRUE(torch::equal(unpack_int4(packed, 64, symmetric), codes));
    EXPECT_TRUE(
        torch::equal(dequantize_packed_weight(packed, scales, zeros, 64, symmetric, GetParam()),
                     dequantize_weight(codes, scales, zeros, symmetric, GetParam())));
    EXPECT_TRUE(torch::equal(dequantize_weight(codes, scales, zeros, symmetric, GetParam()),
                             fake_quantize_weight(weight, 16, symmetric, scale_dtype)));
  }
}

TEST_P(EveryDtype, GradientIsTheInputsGradientWhereCodesAreInside) {
  Tensor weight = weight_like(GetParam()).requires_grad_();
  fake_quantize_weight(weight, 32, true, at::kFloat).sum().backward();
  EXPECT_EQ(weight.grad().scalar_type(), GetParam());
  const Tensor passes = weight.grad().to(at::kFloat).gt(0.9);
  // The positive extreme of a group lands on code 8 about three times in four: no gradient there.
  EXPECT_GT(passes.sum().item<int64_t>(), weight.numel() - 12 - 1);
  EXPECT_LT(passes.sum().item<int64_t>(), weight.numel());
  EXPECT_TRUE(weight.grad().masked_select(passes.logical_not()).eq(0).all().item<bool>());
}

TEST(FakeQuant, ValuesOfAnotherDtypeAreRoundedOnceAndTheirGradientIsTheWeights) {
  const Tensor upstream = torch::randn({6, 64}).to(at::kBFloat16);
  for (const bool symmetric : {true, false}) {
    Tensor weight = weight_like(at::kFloat).requires_grad_();
    const Tensor plain = fake_quantize_weight(weight, 32, symmetric, at::kBFloat16);
    plain.backward(upstream.to(at::kFloat));
    const Tensor expected = weight.grad();
    weight.mutable_grad() = Tensor();

    const Tensor values = fake_quantize_weight(weight, 32, symmetric, at::kBFloat16, at::kBFloat16);
    EXPECT_EQ(values.scalar_type(), at::kBFloat16);
    EXPECT_TRUE(torch::equal(values, plain.to(at::kBFloat16)));
    values.backward(upstream);
    EXPECT_EQ(weight.grad().scalar_type(), at::kFloat);
    EXPECT_TRUE(torch::equal(weight.grad(), expected));
  }
}

TEST(FakeQuant, OddColumnsPackWithACodeOfZeroBehind) {
  const Tensor codes = torch::tensor({{-8, 7, 3}}, at::kChar);
  const Tensor packed = pack_int4(codes, true);
  EXPECT_TRUE(torch::equal(packed, torch::tensor({{0xf0, 0x8b}}, at::kByte)));
  EXPECT_TRUE(torch::equal(unpack_int4(packed, 3, true), codes));
  EXPECT_TRUE(
      torch::equal(dequantize_packed_weight(packed, torch::ones({1, 1}), {}, 3, true, at::kFloat),
                   codes.to(at::kFloat)));
}

TEST(FakeQuant, ActivationsOfAnyRankAreQuantizedByToken) {
  const Tensor tokens = weight_like(at::kFloat, {12, 64});
  const Tensor expected = fake_quantize_activation(tokens);
  for (const std::vector<int64_t>& shape :
       {std::vector<int64_t>{3, 4, 64}, {2, 1, 6, 64}, {12, 1, 64}}) {
    EXPECT_TRUE(torch::equal(fake_quantize_activation(tokens.view(shape)), expected.view(shape)));
  }
  EXPECT_TRUE(torch::equal(fake_quantize_activation(tokens[3]), expected[3]));
  const auto [codes, scales, zeros] = quantize_activation(tokens.view({3, 4, 64}));
  EXPECT_EQ(scales.sizes(), at::IntArrayRef({3, 4}));
  EXPECT_EQ(std::get<1>(quantize_activation(tokens[0])).dim(), 0);
  const Tensor restored = (codes.to(at::kFloat) - zeros.unsqueeze(-1)) * scales.unsqueeze(-1);
  EXPECT_TRUE(torch::equal(restored.view({12, 64}), expected));
}

TEST(FakeQuant, EmptyBatchesGiveEmptyResults) {
  Tensor nothing = torch::empty({0, 64}, torch::requires_grad());
  const Tensor result = fake_quantize_activation(nothing);
  EXPECT_EQ(result.sizes(), nothing.sizes());
  result.sum().backward();
  EXPECT_EQ(nothing.grad().sizes(), nothing.sizes());
  EXPECT_EQ(fake_quantize_weight(torch::empty({0, 64}), 32, true, at::kFloat).size(0), 0);
}

TEST(FakeQuant, StridedInputsEqualTheirContiguousCopies) {
  const Tensor wide = weight_like(at::kFloat, {6, 128});
  const Tensor slice = wide.slice(1, 32, 96);
  const Tensor transposed = weight_like(at::kFloat, {64, 6}).t();
  for (const Tensor& view : {slice, transposed}) {
    EXPECT_FALSE(view.is_contiguous());
    EXPECT_TRUE(torch::equal(fake_quantize_weight(view, 16, true, at::kFloat),
                             fake_quantize_weight(view.contiguous(), 16, true, at::kFloat)));
    EXPECT_TRUE(
        torch::equal(fake_quantize_activation(view), fake_quantize_activation(view.contiguous())));
  }
}

TEST(FakeQuant, StridedGradientsEqualTheirContiguousCopies) {
  Tensor x = weight_like(at::kFloat).requires_grad_();
  const Tensor y = fake_quantize_activation(x);
  const Tensor strided = weight_like(at::kFloat, {64, 6}).t();
  const auto gradient = [&](const Tensor& upstream) {
    return torch::autograd::grad({y}, {x}, {upstream}, /*retain_graph=*/true)[0];
  };
  EXPECT_TRUE(torch::equal(gradient(strided), gradient(strided.contiguous())));
}

TEST(FakeQuant, MetaTensorsGetShapesOnly) {
  const Tensor weight = torch::empty({4, 64}, torch::kMeta);
  const Tensor result = fake_quantize_weight(weight, 32, true, at::kBFloat16);
  EXPECT_TRUE(result.is_meta());
  EXPECT_EQ(result.sizes(), weight.sizes());
  const auto [codes, scales, zeros] = quantize_activation(torch::empty({2, 3, 8}, torch::kMeta));
  EXPECT_EQ(codes.sizes(), at::IntArrayRef({2, 3, 8}));
  EXPECT_EQ(scales.sizes(), at::IntArrayRef({2, 3}));
  EXPECT_EQ(zeros.sizes(), at::IntArrayRef({2, 3}));
}

TEST(FakeQuant, NoGradientIsRecordedUnderNoGrad) {
  const Tensor weight = weight_like(at::kFloat).requires_grad_();
  torch::NoGradGuard no_grad;
  EXPECT_FALSE(fake_quantize_weight(weight, 32, true, at::kFloat).requires_grad());
}

TEST(FakeQuant, SecondDerivativeIsRefused) {
  Tensor x = weight_like(at::kFloat).requires_grad_();
  const Tensor y = fake_quantize_activation(x).sum();
  EXPECT_THAT([&] { torch::autograd::grad({y}, {x}, {}, std::nullopt, /*create_graph=*/true); },
              ThrowsMessage<std::exception>(HasSubstr("cannot be differentiated again")));
}

TEST(FakeQuant, NanAndInfinitySpoilTheirGroupAndNoOther) {
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    Tensor weight = weight_like(at::kFloat);
    weight[2][17] = bad;
    const Tensor result = fake_quantize_weight(weight, 16, true, at::kFloat);
    const Tensor spoiled = result.isnan().view({6, 4, 16}).all(2);
    Tensor expected = torch::zeros({6, 4}, at::kBool);
    expected[2][1] = true;
    EXPECT_TRUE(torch::equal(spoiled, expected));
    EXPECT_EQ(result.isnan().sum().item<int64_t>(), 16);
  }
}

TEST(FakeQuant, BadArgumentsAreNamed) {
  const Tensor weight = weight_like(at::kFloat);
  const auto message = [](const char* text) { return ThrowsMessage<Error>(HasSubstr(text)); };
  EXPECT_THAT([&] { fake_quantize_weight(weight, 48, true, at::kFloat); },
              message("group_size 48 does not divide in_features 64"));
  EXPECT_THAT([&] { fake_quantize_weight(weight, 0, true, at::kFloat); },
              message("group_size 0 does not divide"));
  EXPECT_THAT([&] { fake_quantize_weight(weight[0], 32, true, at::kFloat); }, message("rank 1"));
  EXPECT_THAT([&] { fake_quantize_weight(weight, 32, false, at::kFloat); },
              message("keeps scales in BFloat16"));
  EXPECT_THAT([&] { fake_quantize_weight(weight.to(at::kDouble), 32, true, at::kFloat); },
              message("weight dtype is Double"));
  EXPECT_THAT([&] { fake_quantize_activation(torch::tensor(1.0f)); }, message("a scalar"));
  EXPECT_THAT([&] { fake_quantize_activation(torch::empty({3, 0})); }, message("size(-1) = 0"));
}

}  // namespace
}  // namespace nibble::ops
