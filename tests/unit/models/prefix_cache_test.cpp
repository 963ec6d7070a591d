#include <nibble/core/error.h>
#include <nibble/models/generation.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <stdexcept>

#include "tiny_model.h"

namespace nibble::models {
namespace {

using ::testing::ElementsAre;
using testing::long_rope_config;
using testing::tiny_model;
using torch::Tensor;

using Tokens = std::vector<int64_t>;

Generation run(CausalLMImpl& model, const Tokens& prompt, PrefixCache* cache, int64_t count = 6) {
  return generate(model, prompt, {.max_new_tokens = count, .stop_ids = Tokens{}, .cache = cache});
}

TEST(KVCache, GrowsAndKeepsWhatItHolds) {
  const torch::NoGradGuard no_grad;
  KVCache cache({.num_layers = 1, .batch = 2, .num_kv_heads = 1, .capacity = 3, .head_dim = 4},
                torch::kFloat);
  EXPECT_EQ(cache.bytes(), 2 * 2 * 3 * 4 * 4);
  const Tensor key = torch::randn({2, 1, 2, 4}), value = torch::randn({2, 1, 2, 4});
  cache.append(0, key, value);
  cache.advance(2);
  cache.reserve(4);
  EXPECT_EQ(cache.capacity(), 6);
  const Tensor more = torch::randn({2, 1, 4, 4});
  const auto [keys, values] = cache.append(0, more, more);
  EXPECT_TRUE(keys.equal(torch::cat({key, more}, 2)));
  EXPECT_TRUE(values.equal(torch::cat({value, more}, 2)));
  cache.reserve(2);
  EXPECT_EQ(cache.capacity(), 6);
}

TEST(KVCache, WritesATokenInPlace) {
  const torch::NoGradGuard no_grad;
  KVCache cache({.num_layers = 1, .batch = 1, .num_kv_heads = 2, .capacity = 5, .head_dim = 4},
                torch::kFloat);
  const Tensor token = torch::randn({1, 2, 1, 4});
  const void* first = cache.append(0, token, token).first.data_ptr();
  cache.advance(1);
  EXPECT_EQ(cache.append(0, token, token).first.data_ptr(), first);
}

TEST(PrefixCache, ComputesOnlyWhatFollowsTheCommonBeginning) {
  const auto model = tiny_model();
  PrefixCache cache;
  const Tokens first = {5, 9, 31};
  const Generation one = run(*model, first, &cache);
  EXPECT_EQ(one.cost.prefill_tokens, 3);
  EXPECT_EQ(cache.tokens().size(), 8u);  // the last new token was never fed back

  Tokens second = first;
  second.insert(second.end(), one.tokens.begin(), one.tokens.end());
  second.insert(second.end(), {11, 12});
  const Generation two = run(*model, second, &cache, 20);
  EXPECT_EQ(two.cost.prefill_tokens, 3);  // the last answer's last token, and the two new ones
  EXPECT_EQ(two.tokens, run(*model, second, nullptr, 20).tokens);

  const Tokens other = {5, 9, 30, 2};
  const Generation three = run(*model, other, &cache);
  EXPECT_EQ(three.cost.prefill_tokens, 2);
  EXPECT_EQ(three.tokens, run(*model, other, nullptr).tokens);
}

TEST(PrefixCache, AlwaysLeavesATokenToCompute) {
  const auto model = tiny_model();
  PrefixCache cache;
  const Tokens prompt = {5, 9, 31};
  const Tokens answer = run(*model, prompt, &cache).tokens;
  const Generation again = run(*model, prompt, &cache);
  EXPECT_EQ(again.tokens, answer);
  EXPECT_EQ(again.cost.prefill_tokens, 1);
  cache.clear();
  EXPECT_EQ(cache.bytes(), 0);
  EXPECT_EQ(run(*model, prompt, &cache).cost.prefill_tokens, 3);
}

TEST(PrefixCache, IsRotatedAnewWithTheText) {
  const auto model = tiny_model(long_rope_config());
  PrefixCache cache;
  const Tokens short_prompt = {5, 9, 31}, long_prompt = {5, 9, 31, 1, 2, 3, 4, 5, 6, 7};
  const Tokens short_answer = run(*model, short_prompt, nullptr).tokens;
  const Tokens long_answer = run(*model, long_prompt, nullptr).tokens;
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(run(*model, short_prompt, &cache).tokens, short_answer);
    const Generation longer = run(*model, long_prompt, &cache);
    EXPECT_EQ(longer.tokens, long_answer);
  }
}

TEST(PrefixCache, SurvivesAGenerationThatThrows) {
  const auto model = tiny_model();
  PrefixCache cache;
  const Tokens prompt = {5, 9, 31};
  run(*model, prompt, &cache);
  GenerationOptions options{.max_new_tokens = 9, .stop_ids = Tokens{}, .cache = &cache};
  options.on_token = [](int64_t) -> bool { throw std::runtime_error("closed"); };
  EXPECT_THROW(generate(*model, Tokens{5, 9, 30}, options), std::runtime_error);
  EXPECT_EQ(run(*model, prompt, &cache).tokens, run(*model, prompt, nullptr).tokens);
}

TEST(GenerationCost, TellsPrefillFromDecode) {
  const Generation result = run(*tiny_model(), {5, 9, 31}, nullptr, 10);
  EXPECT_EQ(result.cost.prefill_tokens, 3);
  EXPECT_EQ(result.cost.decode_tokens, 9);
  EXPECT_GT(result.cost.prefill_seconds, 0);
  EXPECT_GT(result.cost.decode_seconds, 0);
  // 2 layers, keys and values, 3 heads of 4 floats, 3 + 10 - 1 tokens.
  EXPECT_EQ(result.cost.kv_cache_bytes, 2 * 2 * 3 * 4 * 4 * 12);
  EXPECT_FALSE(run(*tiny_model(), {5, 9, 31}, nullptr, 1).cost.decode_tokens_per_second());
}

TEST(GenerationCost, Adds) {
  GenerationCost sum{10, 4, 1.0, 2.0, 0.25, 100};
  sum += GenerationCost{5, 1, 0.5, 0.5, 0.5, 80};
  EXPECT_EQ(sum.prefill_tokens_per_second(), 10);
  EXPECT_EQ(sum.decode_tokens_per_second(), 2);
  EXPECT_EQ(sum.graph_seconds, 0.75);
  EXPECT_EQ(sum.kv_cache_bytes, 100);
  GenerationCost planned{.decode_tokens = 1, .decode_path = DecodePath::kPlan};
  planned += GenerationCost{.prefill_tokens = 5};  // decoded nothing
  EXPECT_EQ(planned.decode_path, DecodePath::kPlan);
}

}  // namespace
}  // namespace nibble::models
