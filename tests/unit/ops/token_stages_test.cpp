#include <nibble/core/error.h>
#include <nibble/ops/fake_quant.h>
#include <nibble/ops/token_stages.h>

#include <ATen/Parallel.h>
#include <torch/torch.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>
#include <vector>

// That a decoder of such stages gives the bits of the ordinary forward is tested with the models.
namespace nibble::ops {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;
using torch::Tensor;

class Stages : public testing::TestWithParam<int> {
 protected:
  void SetUp() override { at::set_num_threads(GetParam()); }
  void TearDown() override { at::set_num_threads(before_); }

 private:
  int before_ = at::get_num_threads();
};
INSTANTIATE_TEST_SUITE_P(Threads, Stages, testing::Values(1, 2, 5));

TEST_P(Stages, RunEachRowOnceAndOneAfterTheOther) {
  std::vector<int> first(70), second(70);
  const std::vector<Stage> stages = {
      {70, 32,
       [&](int64_t begin, int64_t end) {
         EXPECT_EQ(begin % 32, 0);
         for (int64_t i = begin; i < end; ++i) ++first[static_cast<size_t>(i)];
       }},
      {0, 1, [](int64_t, int64_t) { ADD_FAILURE() << "a stage without rows"; }},
      {70, 1, [&](int64_t begin, int64_t end) {
         for (int64_t i = begin; i < end; ++i) {
           second[static_cast<size_t>(i)] += first[static_cast<size_t>(69 - i)];
         }
       }}};
  run_stages(stages);
  EXPECT_EQ(first, std::vector<int>(70, 1));
  EXPECT_EQ(second, std::vector<int>(70, 1));
}

TEST_P(Stages, ThrowWhatOneOfThemThrows) {
  std::atomic<bool> went_on = false;
  const std::vector<Stage> stages = {{64, 1,
                                      [](int64_t begin, int64_t) {
                                        if (begin == 0) throw std::out_of_range("the first row");
                                      }},
                                     {1, 1, [&](int64_t, int64_t) { went_on = true; }}};
  EXPECT_THROW(run_stages(stages), std::out_of_range);
  EXPECT_FALSE(went_on);
}

/// A weight [rows, cols] on the symmetric grid, as a converted Linear holds it.
StoredInt4 stored_weight(int64_t rows, int64_t cols, Tensor bias = {}) {
  const Tensor packed = torch::randint(256, {rows, cols / 2}, torch::kUInt8);
  return {packed, torch::rand({rows, cols / 8}), {}, std::move(bias)};
}

TEST(TokenProduct, TakesABiasOfTheInputsDtypeOnly) {
  const TokenInput input(32, torch::kFloat, /*quantizes=*/false);
  EXPECT_TRUE(TokenProduct::takes(stored_weight(5, 32), input));
  EXPECT_TRUE(TokenProduct::takes(stored_weight(5, 32, torch::zeros({5})), input));
  EXPECT_FALSE(TokenProduct::takes(stored_weight(5, 32, torch::zeros({4})), input));
  const StoredInt4 wider = stored_weight(5, 32, torch::zeros({5}, torch::kDouble));
  EXPECT_FALSE(TokenProduct::takes(wider, input));
  EXPECT_THROW(TokenProduct(wider, input, torch::empty({5})), Error);
  EXPECT_THROW(TokenProduct(stored_weight(5, 32), input, torch::empty({6})), Error);
}

TEST(TokenProduct, IsTheQuantizedLinear) {
  for (const bool quantizes : {false, true}) {
    const TokenInput input(64, torch::kFloat, quantizes);
    input.value.normal_();
    input.quantize();
    const StoredInt4 weight = stored_weight(70, 64, torch::randn({70}));
    const TokenProduct product(weight, input, torch::zeros({70}));
    run_stages(std::vector<Stage>{product_stage({product})});
    const Tensor want = quantizes
                            ? int8_dynamic_quantized_linear(input.value.unsqueeze(0), weight.packed,
                                                            weight.scales, weight.bias)
                            : quantized_linear(input.value.unsqueeze(0), weight.packed,
                                               weight.scales, {}, weight.bias, /*symmetric=*/true);
    EXPECT_TRUE(product.output().equal(want[0])) << quantizes;
  }
}

TEST(TokenStages, RefuseShapesThatDoNotFit) {
  const TokenInput input(32, torch::kFloat, false);
  const TokenProduct product(stored_weight(5, 32), input, torch::empty({5}));
  const TokenProduct longer(stored_weight(6, 32), input, torch::empty({6}));
  EXPECT_THROW(residual_stage(torch::zeros({4}), product), Error);
  EXPECT_THROW(residual_stage(torch::zeros({5}, torch::kHalf), product), Error);
  EXPECT_THROW(gated_silu_stage(product, longer, torch::empty({5})), Error);
  EXPECT_THROW(gated_silu_stage(product, product, torch::empty({6})), Error);
  EXPECT_THROW(norm_stage(torch::zeros({31}), torch::ones({32}), 1e-5, input), Error);
  EXPECT_THROW(norm_stage(torch::zeros({32}), torch::ones({32}, torch::kHalf), 1e-5, input), Error);
  EXPECT_THROW(quantize_stage(input), Error);
  EXPECT_THROW(product_stage({}), Error);
}

TEST(TokenStages, AttentionRefusesAPositionThatTheCacheHasNot) {
  DecodeAttention inputs;
  inputs.query = torch::randn({2, 16});
  inputs.key = inputs.value = torch::randn({1, 16});
  inputs.key_cache = torch::zeros({1, 4, 16});
  inputs.value_cache = torch::zeros({1, 4, 16});
  inputs.position = torch::tensor({int64_t{4}});
  inputs.cos = torch::ones({4, 16});
  inputs.sin = torch::zeros({4, 16});
  const std::vector<Stage> stages = attention_stages(inputs, torch::empty({2, 16}));
  EXPECT_THAT([&] { run_stages(stages); }, ThrowsMessage<Error>(HasSubstr("0 to 3, got 4")));
  inputs.position.fill_(3);
  run_stages(stages);
  EXPECT_TRUE(inputs.key_cache[0][3].equal(inputs.key[0]));
  EXPECT_THROW(attention_stages(inputs, torch::empty({2, 8})), Error);
}

}  // namespace
}  // namespace nibble::ops
