#include <nibble/core/error.h>
#include <nibble/eval/text_reference.h>

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "unit/eval/bigram_model.h"

namespace nibble::eval {
namespace {

using nibble::testing::BigramModel;

constexpr double kFloatSum = 1e-5;  ///< a few float32 roundings of values near 1

/// p(next | token) of a table of logits, in plain double arithmetic.
std::vector<double> probabilities(const at::Tensor& table, int64_t token) {
  std::vector<double> result;
  double sum = 0;
  for (int64_t next = 0; next < table.size(1); ++next) {
    result.push_back(std::exp(table[token][next].item<double>()));
    sum += result.back();
  }
  for (double& p : result) p /= sum;
  return result;
}

size_t top(const std::vector<double>& values) {
  return static_cast<size_t>(std::max_element(values.begin(), values.end()) - values.begin());
}

TEST(TextReference, ComparesTheDistributionsOfEveryScoredToken) {
  torch::manual_seed(2);
  const at::Tensor reference_table = torch::randn({6, 6});
  const at::Tensor table = reference_table + torch::randn({6, 6});
  BigramModel reference(reference_table), model(table);
  const std::vector<int64_t> ids = {0, 3, 1, 4, 2, 0, 1, 5, 5, 2, 3};
  constexpr int64_t kContext = 4;  // windows 0 3 1 4 | 2 0 1 5 | 5 2 3

  double kl = 0, nll = 0, reference_nll = 0, agreeing = 0, scored = 0;
  for (size_t i = 0; i + 1 < ids.size(); ++i) {
    if ((i + 1) % kContext == 0) continue;  // the next token begins a window
    const std::vector<double> p = probabilities(reference_table, ids[i]);
    const std::vector<double> q = probabilities(table, ids[i]);
    for (size_t v = 0; v < p.size(); ++v) kl += p[v] * std::log(p[v] / q[v]);
    nll -= std::log(q[static_cast<size_t>(ids[i + 1])]);
    reference_nll -= std::log(p[static_cast<size_t>(ids[i + 1])]);
    agreeing += top(p) == top(q) ? 1 : 0;
    scored += 1;
  }
  ASSERT_GT(agreeing, 0);
  ASSERT_LT(agreeing, scored);

  const TextReference text(reference, ids, kContext);
  EXPECT_EQ(text.perplexity().scored, scored);
  EXPECT_NEAR(text.perplexity().nll_sum, reference_nll, kFloatSum * scored);
  const TextScores scores = text.score(model);
  EXPECT_NEAR(scores.kl, kl / scored, kFloatSum);
  EXPECT_DOUBLE_EQ(scores.top_token_agreement, agreeing / scored);
  EXPECT_NEAR(scores.perplexity.nll_sum, nll, kFloatSum * scored);
  EXPECT_NEAR(scores.perplexity.value, std::exp(nll / scored), 1e-4);
  EXPECT_GT(std::abs(scores.perplexity.nll_sum - text.perplexity().nll_sum), 0.1);
}

TEST(TextReference, IsNothingApartFromItself) {
  const auto model = nibble::testing::random_bigram_model(300);
  const at::Tensor random = torch::randint(300, {400}, at::kLong);
  const std::vector<int64_t> ids(random.data_ptr<int64_t>(), random.data_ptr<int64_t>() + 400);
  const TextReference text(*model, ids, 64);
  const TextScores scores = text.score(*model);
  EXPECT_EQ(scores.kl, 0);
  EXPECT_EQ(scores.top_token_agreement, 1);
  // The measure of the program's other half.
  const Perplexity alone = evaluate_perplexity(*model, ids, 64);
  EXPECT_NEAR(scores.perplexity.value, alone.value, 1e-3);
  EXPECT_EQ(scores.perplexity.scored, alone.scored);
}

TEST(TextReference, RefusesAnotherVocabularyAndNaN) {
  const auto model = nibble::testing::random_bigram_model(5);
  const auto other = nibble::testing::random_bigram_model(6);
  const std::vector<int64_t> ids = {0, 1, 2};
  EXPECT_THROW(TextReference(*model, ids, 8).score(*other), Error);
  BigramModel broken(torch::full({5, 5}, std::nan("")));
  EXPECT_THROW(TextReference(*model, ids, 8).score(broken), Error);
  EXPECT_THROW(TextReference(broken, ids, 8), Error);
}

}  // namespace
}  // namespace nibble::eval
