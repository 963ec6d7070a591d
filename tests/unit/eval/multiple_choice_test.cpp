#include <nibble/core/error.h>
#include <nibble/eval/multiple_choice.h>
#include <nibble/io/file.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "support/temp_dir.h"
#include "unit/data/tiny_text_format.h"
#include "unit/eval/bigram_model.h"

namespace nibble::eval {
namespace {

using nibble::testing::random_bigram_model;
using nibble::testing::TempDir;
using nibble::testing::TinyText;

constexpr double kFloatSum = 1e-4;

TEST(MultipleChoice, SumsTheEndingsTokensOnly) {
  const auto model = random_bigram_model(259);
  const text::Tokenizer tokenizer = text::Tokenizer::from_json(TinyText::tokenizer_json());
  const std::vector<ChoiceQuestion> questions = {{"ab", {"c", "\xc3\xa9"}, 1}};
  const MultipleChoice result = evaluate_multiple_choice(*model, tokenizer, questions);
  const std::vector<double>& scores = result.questions[0].log_likelihoods;
  EXPECT_NEAR(scores[0], -(model->nll('b', ' ') + model->nll(' ', 'c')), kFloatSum);
  EXPECT_NEAR(scores[1], -(model->nll('b', ' ') + model->nll(' ', 0xc3) + model->nll(0xc3, 0xa9)),
              kFloatSum);
}

TEST(MultipleChoice, NormalizesByCharactersNotBytes) {
  // Every token costs the same: an ending's log-likelihood is proportional to its bytes.
  nibble::testing::BigramModel model(torch::zeros({259, 259}));
  const text::Tokenizer tokenizer = text::Tokenizer::from_json(TinyText::tokenizer_json());
  // Blank + 2 bytes: 3 tokens, 1 character. Blank + 4 bytes: 5 tokens, 4 characters.
  const std::vector<ChoiceQuestion> questions = {{"ab", {"\xc3\xa9", "abcd"}, 1}};
  const MultipleChoice result = evaluate_multiple_choice(model, tokenizer, questions);
  EXPECT_EQ(result.questions[0].predicted, 0u);
  EXPECT_EQ(result.questions[0].predicted_normalized, 1u);
  EXPECT_EQ(to_json(result), nlohmann::json::parse(R"({"acc": 0.0, "acc_norm": 1.0, "rows": 1})"));
}

TEST(MultipleChoice, RefusesNothingToScore) {
  const auto model = random_bigram_model(259);
  const text::Tokenizer tokenizer = text::Tokenizer::from_json(TinyText::tokenizer_json());
  EXPECT_THROW(evaluate_multiple_choice(*model, tokenizer, {}), Error);
  const std::vector<ChoiceQuestion> no_context = {{"", {"a"}, 0}};
  EXPECT_THROW(evaluate_multiple_choice(*model, tokenizer, no_context), Error);
}

TEST(HellaSwagQuestions, ReadsRowsAndNamesTheBadOnes) {
  const TempDir folder;
  const auto read = [&](const std::string& line) {
    io::write_file_atomically(folder / "rows.jsonl", line);
    return read_hellaswag_questions({.paths = {folder / "rows.jsonl"}});
  };
  const auto questions = read(R"({"query": "Q", "endings": ["a", "b"], "label": "1"})");
  EXPECT_EQ(questions[0].context, "Q");
  EXPECT_EQ(questions[0].label, 1u);
  EXPECT_THROW(read(R"({"ctx": "Q", "endings": ["a", "b"], "label": 1})"), Error);
  EXPECT_THROW(read(R"({"query": "Q", "endings": ["a", ""], "label": 0})"), Error);
  EXPECT_THROW(read(R"({"query": "Q", "endings": ["a", "b"], "label": 2})"), Error);
  EXPECT_THROW(read(R"({"query": "Q", "label": 2})"), Error);
}

}  // namespace
}  // namespace nibble::eval
