#include <nibble/core/error.h>
#include <nibble/models/generation.h>

#include <gtest/gtest.h>

#include "tiny_model.h"

namespace nibble::models {
namespace {

using testing::long_rope_config;
using testing::tiny_config;
using testing::tiny_model;
using testing::with;

const std::vector<std::vector<int64_t>> kPrompts = {
    {5, 9, 31}, {7}, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, {60, 60, 60, 3}};

GenerationOptions without_stop(int64_t tokens) {
  return {.max_new_tokens = tokens, .stop_ids = std::vector<int64_t>{}};
}

void expect_rows_of_single_generations(CausalLMImpl& model, const GenerationOptions& options) {
  const BatchGeneration batch = generate_batch(model, kPrompts, options);
  ASSERT_EQ(batch.rows.size(), kPrompts.size());
  int64_t new_tokens = 0;
  for (size_t i = 0; i < kPrompts.size(); ++i) {
    const Generation single = generate(model, kPrompts[i], options);
    EXPECT_EQ(batch.rows[i].tokens, single.tokens) << "row " << i;
    EXPECT_EQ(batch.rows[i].finish, single.finish) << "row " << i;
    new_tokens += static_cast<int64_t>(single.tokens.size());
  }
  EXPECT_EQ(batch.cost.prefill_tokens, 3 + 1 + 10 + 4);
  EXPECT_EQ(batch.cost.decode_tokens, new_tokens - 4);
}

TEST(BatchGeneration, GivesEachPromptItsOwnAnswer) {
  const auto model = tiny_model();
  expect_rows_of_single_generations(*model, without_stop(16));
  EXPECT_TRUE(model->is_training());
}

TEST(BatchGeneration, SamplesEachRowAsIfAlone) {
  GenerationOptions options = without_stop(16);
  options.temperature = 1.2;
  options.top_k = 20;
  options.seed = 5;
  expect_rows_of_single_generations(*tiny_model(), options);
}

TEST(BatchGeneration, EndsEachRowForItself) {
  const auto model = tiny_model();
  // A token that the first prompt meets early.
  const int64_t stop = generate(*model, kPrompts[0], without_stop(8)).tokens[2];
  expect_rows_of_single_generations(*model,
                                    {.max_new_tokens = 20, .stop_ids = std::vector<int64_t>{stop}});
  // The context ends the longest prompt before the others.
  expect_rows_of_single_generations(*tiny_model(with(tiny_config(), "max_position_embeddings", 14)),
                                    without_stop(8));
}

TEST(BatchGeneration, KeepsTheDistanceOfSlidingWindows) {
  nlohmann::json config = with(tiny_config(), "architectures", {"MistralForCausalLM"});
  config["sliding_window"] = 4;
  expect_rows_of_single_generations(*tiny_model(config), without_stop(16));
}

TEST(BatchGeneration, RotatesEachTextByItsOwnLength) {
  expect_rows_of_single_generations(*tiny_model(long_rope_config()), without_stop(12));
}

TEST(BatchGeneration, RefusesWhatABatchCannotDo) {
  const auto model = tiny_model();
  const std::vector<std::vector<int64_t>> none, with_empty = {{1}, {}};
  EXPECT_THROW(generate_batch(*model, none), Error);
  EXPECT_THROW(generate_batch(*model, with_empty), Error);
  PrefixCache cache;
  EXPECT_THROW(generate_batch(*model, kPrompts, {.cache = &cache}), Error);
  EXPECT_THROW(generate_batch(*model, kPrompts, {.on_token = [](int64_t) { return true; }}), Error);
}

}  // namespace
}  // namespace nibble::models
