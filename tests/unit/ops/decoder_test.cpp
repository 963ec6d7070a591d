#include <nibble/core/error.h>
#include <nibble/ops/decoder.h>

#include <torch/torch.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

namespace nibble::ops {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;
using torch::Tensor;

class Decoder : public testing::TestWithParam<at::ScalarType> {
 protected:
  Decoder() { torch::manual_seed(3); }
  static Tensor random(at::IntArrayRef sizes) { return torch::randn(sizes).to(GetParam()); }
  static void expect_near(const Tensor& actual, const Tensor& expected) {
    ASSERT_EQ(actual.sizes(), expected.sizes());
    ASSERT_EQ(actual.scalar_type(), expected.scalar_type());
    const double limit = GetParam() == at::kFloat ? 1e-5 : GetParam() == at::kHalf ? 2e-3 : 1e-2;
    EXPECT_TRUE(torch::allclose(actual.to(at::kFloat), expected.to(at::kFloat), limit, limit))
        << (actual.to(at::kFloat) - expected.to(at::kFloat)).abs().max().item<float>();
  }

  torch::NoGradGuard no_grad_;
};
INSTANTIATE_TEST_SUITE_P(Dtype, Decoder, testing::Values(at::kFloat, at::kBFloat16, at::kHalf));

TEST_P(Decoder, RmsNormIsLibTorchs) {
  const Tensor x = random({2, 3, 40}), weight = random({40});
  expect_near(rms_norm(x, weight, 1e-5, 0.0), at::rms_norm(x, {40}, weight, 1e-5));
  expect_near(rms_norm(x, weight, 1e-5, 1.0), at::rms_norm(x, {40}, weight + 1, 1e-5));
  const Tensor view = random({2, 80}).narrow(1, 3, 40);
  expect_near(rms_norm(view, weight, 1e-5, 0.0), at::rms_norm(view, {40}, weight, 1e-5));
  EXPECT_EQ(rms_norm(random({0, 40}), weight, 1e-5, 0.0).sizes(), at::IntArrayRef({0, 40}));
}

TEST_P(Decoder, SwigluIsLibTorchs) {
  const Tensor gate = random({2, 37}) * 4, up = random({2, 37});
  expect_near(swiglu(gate, up), at::silu(gate) * up);
  const auto halves = random({2, 3, 74}).chunk(2, -1);
  expect_near(swiglu(halves[0], halves[1]), at::silu(halves[0]) * halves[1]);
}

TEST_P(Decoder, RotateHasLibTorchsBits) {
  const auto expected = [](const Tensor& x, const Tensor& cos, const Tensor& sin) {
    const Tensor rotated = x.narrow(-1, 0, cos.size(-1));
    const auto halves = rotated.chunk(2, -1);
    return torch::cat({rotated * cos + torch::cat({-halves[1], halves[0]}, -1) * sin,
                       x.narrow(-1, cos.size(-1), x.size(-1) - cos.size(-1))},
                      -1);
  };
  for (const int64_t rotary_dim : {24, 40}) {
    for (const int64_t rows : {1, 2}) {
      const Tensor cos = random({rows, 5, 1, rotary_dim}), sin = random({rows, 5, 1, rotary_dim});
      const Tensor x = random({2, 5, 3, 40});
      EXPECT_TRUE(torch::equal(rotate(x, cos, sin), expected(x, cos, sin)));
      const Tensor part = random({2, 5, 7, 40}).narrow(2, 2, 3);
      EXPECT_TRUE(torch::equal(rotate(part, cos, sin), expected(part, cos, sin)));
    }
  }
}

TEST_P(Decoder, AttentionIsLibTorchs) {
  const Tensor query = random({2, 6, 1, 32});
  const Tensor cache = random({2, 2, 3, 50, 32});
  Tensor bias = torch::zeros({2, 1, 1, 21}).to(GetParam());
  bias[1].narrow(-1, 0, 4).fill_(-std::numeric_limits<float>::infinity());
  const Tensor in_cache = cache[0].narrow(2, 0, 21), values = cache[1].narrow(2, 0, 21);
  const Tensor elsewhere = random({2, 21, 3, 32}).transpose(1, 2);
  for (const Tensor& key : {in_cache, elsewhere}) {
    for (const auto& mask : {std::optional<Tensor>(), std::optional(bias)}) {
      expect_near(single_query_attention(query, key, values, mask, 0.2),
                  at::scaled_dot_product_attention(query, key, values, mask, 0.0, false, 0.2,
                                                   /*enable_gqa=*/true));
    }
  }
}

TEST(DecoderKernels, RunWhereNothingIsRecorded) {
  const Tensor x = torch::randn({2, 8});
  EXPECT_FALSE(runs_decoder_kernels(x)) << "gradients are on";
  const torch::NoGradGuard no_grad;
  EXPECT_TRUE(runs_decoder_kernels(x));
  EXPECT_FALSE(runs_decoder_kernels(x.to(at::kDouble)));
  EXPECT_FALSE(runs_decoder_kernels(x.to(at::kMeta)));
}

TEST(DecoderKernels, NameWhatDoesNotFit) {
  const Tensor x = torch::randn({2, 8});
  EXPECT_THAT([&] { rms_norm(x, torch::ones({7}), 1e-5, 0.0); },
              ThrowsMessage<Error>(HasSubstr("cannot norm [2, 8] with a weight [7]")));
  EXPECT_THAT([&] { rms_norm(x, torch::ones({8}).to(at::kHalf), 1e-5, 0.0); },
              ThrowsMessage<Error>(HasSubstr("one dtype, got Float and Half")));
  EXPECT_THAT([&] { swiglu(x, x.narrow(1, 0, 7)); }, ThrowsMessage<Error>(HasSubstr("one shape")));
  const Tensor heads = torch::randn({1, 2, 3, 8}), tables = torch::randn({1, 2, 1, 8});
  EXPECT_THAT([&] { rotate(heads, tables.narrow(3, 0, 5), tables.narrow(3, 0, 5)); },
              ThrowsMessage<Error>(HasSubstr("needs tables [1 or 1, 2, 1, even, at most 8]")));
  EXPECT_THAT([&] { rotate(heads.transpose(2, 3).contiguous().transpose(2, 3), tables, tables); },
              ThrowsMessage<Error>(HasSubstr("heads that lie side by side")));
  const Tensor query = torch::randn({1, 4, 1, 16}), key = torch::randn({1, 2, 5, 16});
  EXPECT_THAT([&] { single_query_attention(query.narrow(1, 0, 3), key, key, {}, 1.0); },
              ThrowsMessage<Error>(HasSubstr("cannot attend from [1, 3, 1, 16]")));
  EXPECT_THAT(
      [&] {
        single_query_attention(query, key, key, torch::zeros({1, 1, 1, 4}), 1.0);
      },
      ThrowsMessage<Error>(HasSubstr("needs a bias [1 or 1, 1, 1, 5]")));
  EXPECT_THAT([&] { single_query_attention(query.narrow(3, 0, 8), key, key, {}, 1.0); },
              ThrowsMessage<Error>(HasSubstr("a multiple of 16")));
}

}  // namespace
}  // namespace nibble::ops
