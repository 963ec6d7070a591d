#include <nibble/core/error.h>
#include <nibble/models/generation.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "tiny_model.h"

namespace nibble::models {
namespace {

using ::testing::ElementsAre;
using testing::long_rope_config;
using testing::tiny_config;
using testing::tiny_model;
using testing::with;
using torch::Tensor;

const std::vector<int64_t> kPrompt = {5, 9, 31};

std::vector<int64_t> greedy_without_cache(DecoderLMImpl& model, std::vector<int64_t> tokens,
                                          int64_t count) {
  const torch::NoGradGuard no_grad;
  for (int64_t i = 0; i < count; ++i) {
    const Tensor logits = model.forward(torch::tensor(tokens, torch::kLong).unsqueeze(0));
    tokens.push_back(logits[0][-1].argmax().item<int64_t>());
  }
  return {tokens.begin() + 3, tokens.end()};
}

TEST(Generation, GreedyEqualsFullForwards) {
  const auto model = tiny_model();
  const Generation result =
      generate(*model, kPrompt, {.max_new_tokens = 12, .stop_ids = std::vector<int64_t>{}});
  EXPECT_EQ(result.tokens, greedy_without_cache(*model, kPrompt, 12));
  EXPECT_EQ(result.finish, FinishReason::kTokenLimit);
  EXPECT_TRUE(model->is_training());
}

TEST(Generation, RotatesAllTokensAnewWhereLongRopeOutgrowsItsContext) {
  const auto model = tiny_model(long_rope_config());
  const Generation result =
      generate(*model, kPrompt, {.max_new_tokens = 12, .stop_ids = std::vector<int64_t>{}});
  EXPECT_EQ(result.tokens, greedy_without_cache(*model, kPrompt, 12));
}

TEST(Generation, ACacheOfTheShortRotationTakesNoLongText) {
  const torch::NoGradGuard no_grad;
  const auto model = tiny_model(long_rope_config());
  KVCache cache = model->make_cache(1, 12);
  model->forward(testing::tiny_tokens(1, 8), {.cache = &cache});
  EXPECT_THROW(model->forward(testing::tiny_tokens(1, 1), {.cache = &cache}), Error);
  cache.truncate(0);
  model->forward(testing::tiny_tokens(1, 9), {.cache = &cache});
  model->forward(testing::tiny_tokens(1, 1), {.cache = &cache});
  EXPECT_EQ(cache.length(), 10);
}

TEST(Generation, StopsAtAStopTokenAndKeepsIt) {
  const auto model = tiny_model();
  const std::vector<int64_t> all = greedy_without_cache(*model, kPrompt, 8);
  const Generation result =
      generate(*model, kPrompt, {.max_new_tokens = 8, .stop_ids = std::vector<int64_t>{all[2]}});
  EXPECT_EQ(result.finish, FinishReason::kStopToken);
  EXPECT_EQ(result.tokens.back(), all[2]);
  EXPECT_LE(result.tokens.size(), 3u);
}

TEST(Generation, TheConfigurationNamesTheDefaultStopToken) {
  const int64_t first = greedy_without_cache(*tiny_model(), kPrompt, 1)[0];
  const auto model = tiny_model(with(tiny_config(), "eos_token_id", first));
  EXPECT_THAT(generate(*model, kPrompt).tokens, ElementsAre(first));
}

TEST(Generation, TheCallbackSeesEachTokenAndMayEndIt) {
  std::vector<int64_t> seen;
  const Generation result = generate(
      *tiny_model(), kPrompt,
      {.max_new_tokens = 9, .stop_ids = std::vector<int64_t>{}, .on_token = [&](int64_t token) {
         seen.push_back(token);
         return seen.size() < 4;
       }});
  EXPECT_EQ(result.finish, FinishReason::kCallback);
  EXPECT_EQ(result.tokens, seen);
  EXPECT_EQ(seen.size(), 4u);
}

TEST(Generation, EndsWithTheContext) {
  const auto model = tiny_model(with(tiny_config(), "max_position_embeddings", 8));
  const Generation result =
      generate(*model, kPrompt, {.max_new_tokens = 100, .stop_ids = std::vector<int64_t>{}});
  EXPECT_EQ(result.tokens.size(), 5u);
  EXPECT_EQ(result.finish, FinishReason::kContextLimit);
  EXPECT_THROW(generate(*model, std::vector<int64_t>(8, 1)), Error);
  EXPECT_THROW(generate(*model, std::vector<int64_t>{}), Error);
}

TEST(Generation, TheSeedDecidesTheSample) {
  const auto model = tiny_model();
  GenerationOptions options = {.max_new_tokens = 20, .temperature = 1.5};
  options.stop_ids.emplace();
  options.seed = 1;
  const std::vector<int64_t> one = generate(*model, kPrompt, options).tokens;
  EXPECT_EQ(generate(*model, kPrompt, options).tokens, one);
  options.seed = 2;
  EXPECT_NE(generate(*model, kPrompt, options).tokens, one);
}

std::map<int64_t, int> draw(const Tensor& logits, const GenerationOptions& options, int count) {
  at::Generator generator = at::detail::createCPUGenerator(11);
  std::map<int64_t, int> drawn;
  for (int i = 0; i < count; ++i) ++drawn[sample_token(logits, options, generator)];
  return drawn;
}

TEST(Generation, SamplesTheDistribution) {
  // Probabilities 0.5, 0.3, 0.15, 0.05 of the tokens 2, 0, 3, 1.
  const Tensor logits = torch::tensor({0.3, 0.05, 0.5, 0.15}, torch::kFloat).log();
  const auto all = draw(logits, {.temperature = 1.0}, 4000);
  EXPECT_NEAR(all.at(2) / 4000.0, 0.5, 0.04);  // 5 standard deviations
  EXPECT_NEAR(all.at(1) / 4000.0, 0.05, 0.02);

  const auto two = draw(logits, {.temperature = 1.0, .top_k = 2}, 2000);
  EXPECT_EQ(two.size(), 2u);
  EXPECT_NEAR(two.at(2) / 2000.0, 0.625, 0.055);

  EXPECT_EQ(draw(logits, {.temperature = 1.0, .top_p = 0.9}, 2000).size(), 3u);
  EXPECT_EQ(draw(logits, {.temperature = 1.0, .top_p = 0.4}, 200).size(), 1u);

  const auto cold = draw(logits, {.temperature = 0.5}, 4000);  // 0.25 : 0.09 : 0.0225 : 0.0025
  EXPECT_NEAR(cold.at(2) / 4000.0, 0.25 / 0.365, 0.04);
  EXPECT_EQ(draw(logits, {.temperature = 0.0}, 5).at(2), 5);
}

TEST(Generation, RefusesOptionsOutsideTheirRange) {
  const auto model = tiny_model();
  EXPECT_THROW(generate(*model, kPrompt, {.max_new_tokens = 0}), Error);
  EXPECT_THROW(generate(*model, kPrompt, {.temperature = -1.0}), Error);
  EXPECT_THROW(generate(*model, kPrompt, {.top_k = -1}), Error);
  EXPECT_THROW(generate(*model, kPrompt, {.top_p = 0.0}), Error);
}

}  // namespace
}  // namespace nibble::models
