#include <nibble/core/error.h>
#include <nibble/nn/fake_quant_linear.h>
#include <nibble/nn/linear.h>
#include <nibble/ops/decode.h>
#include <nibble/ops/fake_quant.h>

#include <torch/torch.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

namespace nibble::nn {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;
using torch::Tensor;

const QuantizationSpec k8da4w{Scheme::k8da4w, 16, at::kFloat, WeightGrid::kSymmetric};
const QuantizationSpec k4wAsymmetric{Scheme::k4w, 16, at::kBFloat16, WeightGrid::kAsymmetric};
const QuantizationSpec k4wSymmetric{Scheme::k4w, 16, at::kBFloat16, WeightGrid::kSymmetric};

Linear make_linear(bool bias = true) {
  torch::manual_seed(3);
  return Linear(torch::nn::LinearOptions(32, 8).bias(bias));
}

Tensor make_input(at::ScalarType dtype = at::kFloat) {
  torch::manual_seed(4);
  return torch::randn({5, 32}).to(dtype);
}

TEST(Linear, StartsAsTorchsLinearDoes) {
  torch::manual_seed(7);
  torch::nn::Linear theirs(32, 8);
  torch::manual_seed(7);
  Linear ours(32, 8);
  EXPECT_TRUE(torch::equal(ours->weight, theirs->weight));
  EXPECT_TRUE(torch::equal(ours->bias, theirs->bias));
  EXPECT_TRUE(torch::equal(ours->forward(make_input()), theirs->forward(make_input())));
  EXPECT_EQ(ours->named_parameters().keys(), theirs->named_parameters().keys());
}

TEST(Linear, PrepareKeepsParametersAndStateDict) {
  Linear linear = make_linear();
  const Tensor weight = linear->weight;
  linear->prepare(k8da4w);
  EXPECT_EQ(linear->state(), LinearState::kFakeQuantized);
  EXPECT_TRUE(linear->weight.is_same(weight));
  EXPECT_THAT(linear->named_parameters().keys(), testing::ElementsAre("weight", "bias"));
  EXPECT_TRUE(linear->named_buffers().is_empty());
}

TEST(Linear, SwitchedOffIsFullPrecisionBitForBit) {
  Linear plain = make_linear();
  Linear prepared = make_linear();
  prepared->prepare(k8da4w);
  prepared->set_fake_quant_enabled(false, false);
  Tensor x = make_input().requires_grad_();
  Tensor y = make_input().requires_grad_();
  plain->forward(x).square().sum().backward();
  prepared->forward(y).square().sum().backward();
  EXPECT_TRUE(torch::equal(x.grad(), y.grad()));
  EXPECT_TRUE(torch::equal(plain->weight.grad(), prepared->weight.grad()));
  EXPECT_TRUE(torch::equal(plain->bias.grad(), prepared->bias.grad()));
}

TEST(Linear, ActivationsAndWeightsSwitchApart) {
  Linear linear = make_linear();
  const Tensor x = make_input();
  const Tensor x_fq = ops::fake_quantize_activation(x);
  const Tensor w_fq = ops::fake_quantize_weight(linear->weight, 16, true, at::kFloat);
  linear->prepare(k8da4w);
  linear->set_fake_quant_enabled(true, false);
  EXPECT_TRUE(torch::equal(linear->forward(x), at::linear(x_fq, linear->weight, linear->bias)));
  linear->set_fake_quant_enabled(false, true);
  EXPECT_TRUE(torch::equal(linear->forward(x), at::linear(x, w_fq, linear->bias)));
}

TEST(Linear, SharedInputIsQuantizedOnce) {
  Linear q = make_linear();
  q->prepare(k8da4w);
  const SharedInput input(make_input());
  const Tensor first = q->forward_shared(input);
  EXPECT_TRUE(torch::equal(first, q->forward(make_input())));
  EXPECT_TRUE(input.fake_quantized().is_same(input.fake_quantized()));
  EXPECT_TRUE(input.quantized().codes.is_same(input.quantized().codes));
}

TEST(SharedInput, OfANormIsComputedOnce) {
  const torch::Tensor residual = torch::randn({2, 8}), update = torch::randn({2, 8}),
                      weight = torch::randn({8}), sum = residual + update;
  const SharedInput input(PendingNorm{residual.clone(), update, weight, 1e-5});
  EXPECT_EQ(input.like().sizes(), residual.sizes());
  const torch::Tensor want = at::rms_norm(sum, {8}, weight, 1e-5);
  EXPECT_TRUE(torch::allclose(input.value(), want));
  EXPECT_TRUE(torch::equal(input.residual(), sum));
  EXPECT_TRUE(input.value().is_same(input.value()));
  EXPECT_TRUE(torch::equal(input.fake_quantized(), ops::fake_quantize_activation(input.value())));
}

TEST(SharedInput, OfANormGivesProductsOfItsValue) {
  const torch::NoGradGuard no_grad;
  Linear linear = make_linear();
  linear->prepare(k4wSymmetric);
  linear->convert();
  const torch::Tensor residual = make_input(), update = torch::randn_like(residual);
  const torch::Tensor weight = torch::rand({residual.size(-1)});
  const auto make = [&] {
    return SharedInput(PendingNorm{residual.clone(), update, weight, 1e-5});
  };
  const SharedInput products = make(), value = make();
  const auto got =
      products.quantized_linears({linear->packed_weight}, {linear->scales}, {}, /*symmetric=*/true);
  const auto want = ops::quantized_linears(value.value(), {linear->packed_weight}, {linear->scales},
                                           {}, /*symmetric=*/true);
  EXPECT_TRUE(torch::equal(got[0], want[0]));
  EXPECT_TRUE(torch::equal(products.residual(), residual + update));
  EXPECT_TRUE(torch::equal(products.value(), value.value())) << "the update is added once";
}

TEST(SharedInput, OfAGateIsComputedOnce) {
  const torch::NoGradGuard no_grad;
  Linear linear = make_linear();
  linear->prepare(k4wSymmetric);
  linear->convert();
  const torch::Tensor gate = make_input(), up = torch::randn_like(gate);
  const SharedInput products(PendingGate{gate, up}), value(PendingGate{gate, up});
  EXPECT_EQ(value.like().sizes(), gate.sizes());
  EXPECT_TRUE(torch::allclose(value.value(), at::silu(gate) * up));
  EXPECT_TRUE(value.value().is_same(value.value()));
  const auto got =
      products.quantized_linears({linear->packed_weight}, {linear->scales}, {}, /*symmetric=*/true);
  const auto want =
      value.quantized_linears({linear->packed_weight}, {linear->scales}, {}, /*symmetric=*/true);
  EXPECT_TRUE(torch::equal(got[0], want[0]));
}

/// How far inference from the codes may lie from the prepared forward: of the size of the result,
/// some units of what the dtype resolves.
double tolerance(at::ScalarType dtype) {
  return dtype == at::kFloat ? 1e-4 : dtype == at::kHalf ? 4e-3 : 2e-2;
}

class PreparedEqualsConverted
    : public testing::TestWithParam<std::tuple<at::ScalarType, QuantizationSpec>> {};
INSTANTIATE_TEST_SUITE_P(Linear, PreparedEqualsConverted,
                         testing::Combine(testing::Values(at::kFloat, at::kBFloat16, at::kHalf),
                                          testing::Values(k8da4w, k4wAsymmetric, k4wSymmetric)));

// TorchAO's own test has 1,000 seeds too (test_qat_8da4w_prepare_vs_convert).
TEST_P(PreparedEqualsConverted, BitForBitOverAThousandSeeds) {
  const auto [dtype, base] = GetParam();
  QuantizationSpec spec = base;
  if (spec.scheme == Scheme::k8da4w) spec.scale_dtype = dtype;
  torch::NoGradGuard no_grad;
  for (int seed = 0; seed < 1000; ++seed) {
    torch::manual_seed(seed);
    Linear linear(32, 8);
    linear->to(dtype);
    const Tensor x = torch::randn({3, 32}).to(dtype) * (seed % 7 + 0.1);
    linear->prepare(spec);
    const Tensor prepared = linear->forward(x);
    const Tensor weight = linear->effective_weight();
    linear->convert();
    ASSERT_TRUE(torch::equal(linear->effective_weight(), weight)) << "seed " << seed;
    ASSERT_TRUE(torch::equal(linear->forward(x), prepared)) << "seed " << seed;
    linear->eval();  // now the kernels of inference multiply codes
    const Tensor fast = linear->forward(x);
    ASSERT_LT((fast - prepared).norm().item<double>(),
              tolerance(dtype) * prepared.norm().item<double>())
        << "seed " << seed;
    torch::AutoGradMode recording(true);
    ASSERT_TRUE(torch::equal(linear->forward(x), prepared)) << "seed " << seed;
  }
}

TEST(Linear, ConvertedHoldsCodesAndNoWeight) {
  Linear linear = make_linear();
  linear->prepare(k4wAsymmetric);
  const int64_t before = linear->storage_bytes();
  linear->convert();
  EXPECT_EQ(linear->state(), LinearState::kQuantized);
  EXPECT_FALSE(linear->weight.defined());
  EXPECT_THAT(linear->named_parameters().keys(), testing::ElementsAre("bias"));
  EXPECT_THAT(linear->named_buffers().keys(),
              testing::ElementsAre("packed_weight", "scales", "zeros"));
  EXPECT_EQ(before, 8 * 32 * 4 + 8 * 4);
  EXPECT_EQ(linear->storage_bytes(), 8 * 16 + 2 * (8 * 2 * 2) + 8 * 4);
}

TEST(Linear, ConvertedKeepsItsGridThroughDtypeChanges) {
  Linear linear = make_linear();
  linear->prepare(k8da4w);
  linear->convert();
  const Tensor codes = linear->codes();
  const Tensor scales = linear->scales.clone();
  linear->to(at::kBFloat16);
  EXPECT_TRUE(torch::equal(linear->codes(), codes));
  EXPECT_TRUE(torch::equal(linear->scales, scales));
  EXPECT_EQ(linear->forward(make_input(at::kBFloat16)).scalar_type(), at::kBFloat16);
  EXPECT_EQ(linear->forward(make_input(at::kFloat)).scalar_type(), at::kBFloat16);
}

TEST(Linear, ClonesInEveryState) {
  for (const LinearState state :
       {LinearState::kFullPrecision, LinearState::kFakeQuantized, LinearState::kQuantized}) {
    for (const bool bias : {true, false}) {
      Linear linear = make_linear(bias);
      if (state != LinearState::kFullPrecision) linear->prepare(k4wAsymmetric);
      if (state == LinearState::kQuantized) linear->convert();
      const auto copy = std::dynamic_pointer_cast<LinearImpl>(linear->clone());
      ASSERT_NE(copy, nullptr);
      EXPECT_EQ(copy->state(), state);
      EXPECT_EQ(copy->spec(), linear->spec());
      EXPECT_TRUE(torch::equal(copy->forward(make_input()), linear->forward(make_input())));
      torch::NoGradGuard no_grad;
      for (const Tensor& tensor : copy->parameters()) tensor.add_(1);
      for (const Tensor& tensor : copy->buffers()) tensor.zero_();
      EXPECT_FALSE(torch::equal(copy->forward(make_input()), linear->forward(make_input())));
    }
  }
}

template <class From, class To>
void save_and_load(const From& from, To& to) {
  std::stringstream stream;
  torch::save(from, stream);
  torch::load(to, stream);
}

TEST(Linear, SavedAndLoadedInEveryState) {
  for (const bool quantized : {false, true}) {
    Linear saved = make_linear();
    torch::manual_seed(99);
    Linear loaded(32, 8);
    for (Linear linear : {saved, loaded}) {
      linear->prepare(k8da4w);
      if (quantized) linear->convert();
    }
    EXPECT_FALSE(torch::equal(loaded->forward(make_input()), saved->forward(make_input())));
    save_and_load(saved, loaded);
    EXPECT_TRUE(torch::equal(loaded->forward(make_input()), saved->forward(make_input())));
  }
}

TEST(Linear, PlainAndPreparedArchivesAreTheSame) {
  Linear plain = make_linear();
  torch::manual_seed(99);
  Linear prepared(32, 8);
  prepared->prepare(k8da4w);
  save_and_load(plain, prepared);
  EXPECT_TRUE(torch::equal(prepared->weight, plain->weight));
  torch::nn::Linear theirs(32, 8);
  save_and_load(prepared, theirs);
  EXPECT_TRUE(torch::equal(theirs->weight, plain->weight));
}

TEST(Linear, ArchivesOfAnotherStateOrSpecAreRefused) {
  Linear plain = make_linear();
  Linear quantized = make_linear();
  quantized->prepare(k8da4w);
  quantized->convert();
  Linear other = make_linear();
  other->prepare(k4wSymmetric);
  other->convert();
  EXPECT_THAT([&] { save_and_load(quantized, plain); },
              ThrowsMessage<Error>(HasSubstr("convert() the model before loading")));
  EXPECT_THAT([&] { save_and_load(plain, quantized); },
              ThrowsMessage<Error>(HasSubstr("this one is quantized")));
  EXPECT_THAT([&] { save_and_load(other, quantized); },
              ThrowsMessage<Error>(HasSubstr("quantized as '4w group 16 symmetric")));
}

Int8Weight int8_weight() {
  torch::manual_seed(5);
  return {torch::randint(-127, 128, {8, 32}, at::kChar), torch::rand({8, 2})};
}

TEST(Linear, AnInt8WeightMultipliesAsItsValuesDo) {
  const Int8Weight stored = int8_weight();
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    Linear linear = make_linear();
    linear->to(dtype);
    const Tensor bias = linear->bias, values = stored.dequantize(dtype), x = make_input(dtype);
    linear->load_int8(stored, dtype);
    EXPECT_EQ(linear->state(), LinearState::kInt8);
    EXPECT_FALSE(linear->weight.defined());
    EXPECT_THAT(linear->named_parameters().keys(), testing::ElementsAre("bias"));
    EXPECT_EQ(linear->storage_bytes(), 8 * 32 + 8 * 2 * 4 + bias.nbytes());
    EXPECT_TRUE(torch::equal(linear->effective_weight(), values));
    const Tensor expected = torch::linear(x, values, bias);
    EXPECT_TRUE(torch::equal(linear->forward(x), expected)) << "gradients may be wanted";
    linear->eval();
    const torch::NoGradGuard no_grad;
    const Tensor y = linear->forward(x);
    EXPECT_EQ(y.scalar_type(), dtype);
    EXPECT_LT((y - expected).norm().item<float>(),
              (dtype == at::kFloat ? 1e-5 : 1e-2) * expected.norm().item<float>());
  }
}

TEST(Linear, AnInt8WeightKeepsItsIntegers) {
  Linear linear = make_linear();
  linear->load_int8(int8_weight(), at::kFloat);
  const auto copy = std::dynamic_pointer_cast<LinearImpl>(linear->clone());
  EXPECT_FALSE(copy->int8_weight.is_same(linear->int8_weight));
  EXPECT_TRUE(torch::equal(copy->forward(make_input()), linear->forward(make_input())));
  Linear other = make_linear();
  other->load_int8({torch::zeros({8, 32}, at::kChar), torch::ones({8, 2})}, at::kFloat);
  save_and_load(linear, other);
  EXPECT_TRUE(torch::equal(other->int8_weight.codes, linear->int8_weight.codes));
  Linear quantized = make_linear();
  quantized->prepare(k8da4w);
  quantized->convert();
  EXPECT_THAT([&] { save_and_load(linear, quantized); },
              ThrowsMessage<Error>(HasSubstr("quantized as 'int8, 2 scales a row")));
  copy->to(at::kBFloat16);
  EXPECT_EQ(copy->int8_weight.codes.scalar_type(), at::kChar);
  EXPECT_EQ(copy->int8_weight.scales.scalar_type(), at::kFloat);
  EXPECT_EQ(copy->forward(make_input()).scalar_type(), at::kBFloat16);
  EXPECT_THAT([&] { linear->prepare(k8da4w); },
              ThrowsMessage<Error>(HasSubstr("full-precision weight is gone")));
  EXPECT_THAT([&] { linear->load_int8(int8_weight(), at::kFloat); },
              ThrowsMessage<Error>(HasSubstr("in full precision")));
}

TEST(Linear, PerChannelIsOneGroupARow) {
  Linear linear = make_linear();
  linear->prepare({Scheme::k4w, kPerChannel, at::kFloat, WeightGrid::kSymmetric});
  EXPECT_EQ(linear->spec()->group_size, 32);
  linear->convert();
  EXPECT_EQ(linear->scales.sizes(), at::IntArrayRef({8, 1}));
}

TEST(Linear, WrongTransitionsAreErrors) {
  Linear linear = make_linear();
  EXPECT_THAT([&] { linear->convert(); }, ThrowsMessage<Error>(HasSubstr("needs a prepared")));
  QuantizationSpec odd = k8da4w;
  odd.group_size = 24;
  EXPECT_THAT([&] { linear->prepare(odd); },
              ThrowsMessage<Error>(HasSubstr("group size 24 does not divide in_features 32")));
  odd = k8da4w;
  odd.grid = WeightGrid::kAsymmetric;
  EXPECT_THAT([&] { linear->prepare(odd); }, ThrowsMessage<Error>(HasSubstr("symmetric")));
  linear->prepare(k8da4w);
  {
    torch::NoGradGuard no_grad;
    linear->weight[1][1] = std::numeric_limits<float>::quiet_NaN();
  }
  EXPECT_THAT([&] { linear->convert(); }, ThrowsMessage<Error>(HasSubstr("NaN or infinite")));
  EXPECT_EQ(linear->state(), LinearState::kFakeQuantized);
}

}  // namespace
}  // namespace nibble::nn
