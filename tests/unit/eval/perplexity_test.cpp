#include <nibble/core/error.h>
#include <nibble/eval/perplexity.h>
#include <nibble/eval/scoring.h>

#include <gtest/gtest.h>

#include <cmath>

#include "unit/eval/bigram_model.h"

namespace nibble::eval {
namespace {

using nibble::testing::BigramModel;
using nibble::testing::random_bigram_model;

constexpr double kFloatSum = 1e-5;  ///< a few float32 roundings of values near 1

TEST(Perplexity, ScoresAllButTheFirstTokenOfEachWindow) {
  const auto model = random_bigram_model(5);
  const std::vector<int64_t> ids = {0, 3, 1, 4, 2, 0, 1};
  const Perplexity result = evaluate_perplexity(*model, ids, /*context=*/3);
  // Windows 0 3 1 | 4 2 0 | 1: the last has nothing to score.
  const double expected = model->nll(0, 3) + model->nll(3, 1) + model->nll(4, 2) + model->nll(2, 0);
  EXPECT_EQ(result.scored, 4);
  EXPECT_NEAR(result.nll_sum, expected, kFloatSum);
  EXPECT_NEAR(result.value, std::exp(expected / 4), kFloatSum * 10);
}

TEST(Perplexity, OfAUniformModelIsTheVocabulary) {
  BigramModel model(torch::zeros({7, 7}));
  EXPECT_NEAR(evaluate_perplexity(model, std::vector<int64_t>{1, 2, 3}, 64).value, 7, kFloatSum);
}

TEST(Perplexity, RefusesWhatItCannotScore) {
  const auto model = random_bigram_model(3);
  const std::vector<int64_t> ids = {0, 1, 2};
  EXPECT_THROW(evaluate_perplexity(*model, ids, 1), Error);
  EXPECT_THROW(evaluate_perplexity(*model, ids, 65), Error);
  EXPECT_THROW(evaluate_perplexity(*model, std::vector<int64_t>{1}, 8), Error);
}

TEST(EvaluationScope, RestoresEveryModulesMode) {
  const auto model = random_bigram_model(3);
  model->train();
  model->child()->eval();
  {
    const EvaluationScope scope(*model);
    EXPECT_FALSE(model->is_training());
    EXPECT_FALSE(at::GradMode::is_enabled());
  }
  EXPECT_TRUE(model->is_training());
  EXPECT_FALSE(model->child()->is_training());
  EXPECT_TRUE(at::GradMode::is_enabled());
}

TEST(ScoreTargets, FollowsTheOrderOfTheLabels) {
  const auto model = random_bigram_model(300);  // more targets than one block
  const at::Tensor ids = torch::randint(300, {3, 100}, at::kLong);
  at::Tensor labels = torch::randint(300, {3, 100}, at::kLong);
  labels[1].narrow(0, 0, 50).fill_(-100);
  const EvaluationScope scope(*model);
  const TargetScores scores = score_targets(*model, ids, labels);
  ASSERT_EQ(scores.nll.size(0), 250);
  EXPECT_NEAR(scores.nll[100].item<double>(),
              model->nll(ids[1][50].item<int64_t>(), labels[1][50].item<int64_t>()), kFloatSum);
  EXPECT_NEAR(scores.nll[249].item<double>(),
              model->nll(ids[2][99].item<int64_t>(), labels[2][99].item<int64_t>()), kFloatSum);
  EXPECT_THROW(score_targets(*model, ids, labels.narrow(1, 0, 5)), Error);
  EXPECT_EQ(score_targets(*model, ids, torch::full_like(labels, -100)).nll.size(0), 0);
}

}  // namespace
}  // namespace nibble::eval
