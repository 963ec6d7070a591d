#include <nibble/core/error.h>
#include <nibble/eval/teacher_forcing.h>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "unit/eval/bigram_model.h"

namespace nibble::eval {
namespace {

using nibble::testing::BigramModel;
using nibble::testing::random_bigram_model;

/// Token t is followed by t + 1 with certainty enough.
BigramModel successor_model() { return BigramModel(10 * torch::eye(6).roll(1, 1)); }

TEST(EvaluateRows, CountsExactMatchesRowByRow) {
  BigramModel model = successor_model();
  const std::vector<data::Row> rows = {{{0, 1, 2}, {data::kIgnoreIndex, 2, 3}},
                                       {{3, 4}, {4, 0}},
                                       {{0, 1, 2, 3}, {5, data::kIgnoreIndex, 3, 4}}};
  for (const int64_t batch_size : {1, 2, 8}) {
    const TeacherForcing result = evaluate_rows(model, rows, batch_size);
    EXPECT_EQ(result.targets, 7);
    ASSERT_EQ(result.rows.size(), 3u);
    EXPECT_TRUE(result.rows[0].exact_match());
    EXPECT_EQ(result.rows[1].correct, 1);
    EXPECT_EQ(result.rows[2].correct, 2);
    EXPECT_DOUBLE_EQ(result.token_accuracy, 5.0 / 7.0);
    EXPECT_DOUBLE_EQ(result.exact_match, 1.0 / 3.0);
    const double right = model.nll(0, 1), wrong = model.nll(0, 5);
    EXPECT_NEAR(result.loss, (5 * right + 2 * wrong) / 7, 1e-5);
  }
}

TEST(EvaluateRows, TheLossWeighsTargetsNotRows) {
  const auto model = random_bigram_model(4);
  const std::vector<data::Row> rows = {{{0}, {1}}, {{1, 2, 3}, {2, 3, 0}}};
  const double sum = model->nll(0, 1) + model->nll(1, 2) + model->nll(2, 3) + model->nll(3, 0);
  EXPECT_NEAR(evaluate_rows(*model, rows).loss, sum / 4, 1e-5);
}

TEST(EvaluateRows, RefusesRowsItCannotScore) {
  const auto model = random_bigram_model(4);
  EXPECT_THROW(evaluate_rows(*model, {}), Error);
  const std::vector<data::Row> masked = {{{0}, {data::kIgnoreIndex}}};
  EXPECT_THROW(evaluate_rows(*model, masked), Error);
  const std::vector<data::Row> packed = {{{0, 1}, {1, 2}, {1, 1}}};
  EXPECT_THROW(evaluate_rows(*model, packed), Error);
  const std::vector<data::Row> good = {{{0}, {1}}};
  EXPECT_THROW(evaluate_rows(*model, good, 0), Error);
}

TEST(EvaluateRows, WritesItsSummary) {
  BigramModel model = successor_model();
  const std::vector<data::Row> rows = {{{0, 1}, {1, 2}}};
  const nlohmann::json json = to_json(evaluate_rows(model, rows));
  EXPECT_EQ(json["targets"], 2);
  EXPECT_EQ(json["rows"], 1);
  EXPECT_EQ(json["exact_match"], 1.0);
}

}  // namespace
}  // namespace nibble::eval
