#include <nibble/core/error.h>
#include <nibble/eval/model_loading.h>
#include <nibble/eval/multiple_choice.h>
#include <nibble/eval/scoring.h>
#include <nibble/io/file.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <cmath>

#include "support/temp_dir.h"
#include "support/tiny_model.h"
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
  EXPECT_EQ(to_json(result),
            nlohmann::json::parse(R"({"acc": 0.0, "acc_stderr": 0.0, "acc_norm": 1.0,
                                      "acc_norm_stderr": 0.0, "rows": 1})"));
}

/// Plain forwards of whole texts, one at a time.
std::vector<double> scored_one_by_one(models::CausalLMImpl& model, const text::Tokenizer& tokenizer,
                                      const ChoiceQuestion& question) {
  const EvaluationScope scope(model);
  const auto context = tokenizer.encode_ids(question.context, false).size();
  std::vector<double> sums;
  for (const std::string& ending : question.endings) {
    const auto ids = tokenizer.encode_ids(question.context + " " + ending, false);
    const at::Tensor log_p =
        model.forward(torch::tensor(ids, at::kLong).unsqueeze(0))[0].log_softmax(-1);
    double sum = 0;
    for (size_t i = context; i < ids.size(); ++i) {
      sum += log_p[static_cast<int64_t>(i) - 1][ids[i]].item<double>();
    }
    sums.push_back(sum);
  }
  return sums;
}

TEST(MultipleChoice, NeitherSharedContextsNorBatchesChangeAnything) {
  const TempDir folder;
  nibble::testing::write_tiny_model(folder / "model");
  const LoadedModel loaded = load_any_model(folder / "model");
  const auto tokenizer = text::Tokenizer::from_json(loaded.checkpoint->tokenizer_json());
  const std::vector<ChoiceQuestion> questions = {
      {"A man sits on a roof", {"he eats", "is ripping level tiles off", "x"}, 0},
      {"a", {"b", "cd"}, 1},  // the only token of the context is not shared
      {"two lines\n\nhere", {"\nfive", "one"}, 0}};
  // Alone with a shared context; the first alone and the others together; all together.
  for (const int64_t batch_tokens : {0, 150, 4096}) {
    const MultipleChoice result =
        evaluate_multiple_choice(*loaded.model, tokenizer, questions, batch_tokens);
    ASSERT_EQ(result.questions.size(), questions.size());
    for (size_t i = 0; i < questions.size(); ++i) {
      const auto truth = scored_one_by_one(*loaded.model, tokenizer, questions[i]);
      ASSERT_EQ(result.questions[i].log_likelihoods.size(), truth.size());
      for (size_t ending = 0; ending < truth.size(); ++ending) {
        EXPECT_NEAR(result.questions[i].log_likelihoods[ending], truth[ending], kFloatSum * 10)
            << "question " << i << " in batches of " << batch_tokens;
      }
    }
  }
}

/// Notes the shape of each forward.
class WatchedModel : public nibble::testing::BigramModel {
 public:
  using BigramModel::BigramModel;

  at::Tensor hidden_states(const at::Tensor& token_ids,
                           const models::ForwardOptions& options) override {
    shapes.push_back(token_ids.sizes().vec());
    return BigramModel::hidden_states(token_ids, options);
  }

  std::vector<std::vector<int64_t>> shapes;
};

TEST(MultipleChoice, ScoresAsManyQuestionsTogetherAsTheBatchHolds) {
  WatchedModel model(torch::zeros({259, 259}));
  const text::Tokenizer tokenizer = text::Tokenizer::from_json(TinyText::tokenizer_json());
  // Two texts of 4 and of 6 bytes each, of which the last one is not fed.
  const std::vector<ChoiceQuestion> questions = {
      {"a", {"bb", "cc"}, 0}, {"a", {"bbbb", "cccc"}, 0}, {"a", {"dd", "ee"}, 0}};
  const auto shapes = [&](int64_t batch_tokens) {
    model.shapes.clear();
    evaluate_multiple_choice(model, tokenizer, questions, batch_tokens);
    return model.shapes;
  };
  using Shapes = std::vector<std::vector<int64_t>>;
  EXPECT_EQ(shapes(0), (Shapes{{2, 3}, {2, 5}, {2, 3}}));
  EXPECT_EQ(shapes(19), shapes(0)) << "padded, two of them are 20";
  EXPECT_EQ(shapes(20), (Shapes{{4, 5}, {2, 3}}));
  EXPECT_EQ(shapes(30), (Shapes{{6, 5}}));
  EXPECT_EQ(shapes(4096), shapes(30));
  EXPECT_THROW(shapes(-1), Error);
}

TEST(MultipleChoice, TellsTheStandardErrors) {
  MultipleChoice reference, result;
  // Of five questions: both right, lost, lost, won, both wrong.
  const bool before[] = {true, true, true, false, false},
             after[] = {true, false, false, true, false};
  for (int i = 0; i < 5; ++i) {
    reference.questions.push_back({.right_normalized = before[i]});
    result.questions.push_back({.right_normalized = after[i]});
  }
  const AccuracyLoss loss = accuracy_loss(reference, result);
  EXPECT_DOUBLE_EQ(loss.lost, 0.2);
  // Differences 0 1 1 -1 0: deviation sqrt(0.7), over sqrt(5).
  EXPECT_DOUBLE_EQ(loss.standard_error, std::sqrt(0.7 / 5));
  result.acc_norm = 0.4;
  EXPECT_DOUBLE_EQ(result.acc_norm_standard_error(), std::sqrt(0.4 * 0.6 / 4));
  result.questions.pop_back();
  EXPECT_THROW(accuracy_loss(reference, result), Error);
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
