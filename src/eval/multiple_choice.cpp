#include <nibble/core/error.h>
#include <nibble/data/conversation.h>
#include <nibble/data/row.h>
#include <nibble/eval/multiple_choice.h>
#include <nibble/eval/scoring.h>

#include <torch/torch.h>

#include <nlohmann/json.hpp>

#include <algorithm>

namespace nibble::eval {
namespace {

/// Unicode characters of UTF-8 text: every byte that does not continue one.
int64_t character_count(const std::string& text) {
  return std::count_if(text.begin(), text.end(),
                       [](char byte) { return (static_cast<unsigned char>(byte) & 0xc0) != 0x80; });
}

double log_likelihood(models::CausalLMImpl& model, const std::vector<int64_t>& ids,
                      size_t context_tokens) {
  const at::Tensor all = torch::tensor(ids, at::kLong).unsqueeze(0);
  const int64_t positions = all.size(1) - 1;
  at::Tensor labels = all.narrow(1, 1, positions).clone();
  labels.narrow(1, 0, static_cast<int64_t>(context_tokens) - 1).fill_(data::kIgnoreIndex);
  const TargetScores scores = score_targets(model, all.narrow(1, 0, positions), labels);
  return -scores.nll.to(at::kDouble).sum().item<double>();
}

ChoiceScores score_question(models::CausalLMImpl& model, const text::Tokenizer& tokenizer,
                            const ChoiceQuestion& question) {
  const size_t context_tokens =
      tokenizer.encode_ids(question.context, /*add_special_tokens=*/false).size();
  NIBBLE_CHECK(context_tokens > 0, "a multiple choice question needs a context");
  ChoiceScores scores;
  std::vector<double> normalized;
  for (const std::string& ending : question.endings) {
    const std::vector<int64_t> ids =
        tokenizer.encode_ids(question.context + " " + ending, /*add_special_tokens=*/false);
    NIBBLE_CHECK(ids.size() > context_tokens, "the ending \"", ending, "\" adds no token to \"",
                 question.context, "\"");
    scores.log_likelihoods.push_back(log_likelihood(model, ids, context_tokens));
    normalized.push_back(scores.log_likelihoods.back() /
                         static_cast<double>(character_count(ending)));
  }
  const auto best = [](const std::vector<double>& values) {
    return static_cast<size_t>(std::max_element(values.begin(), values.end()) - values.begin());
  };
  scores.predicted = best(scores.log_likelihoods);
  scores.predicted_normalized = best(normalized);
  return scores;
}

ChoiceQuestion read_question(const data::JsonRow& row) {
  const auto query = row.value.find("query");
  NIBBLE_CHECK(query != row.value.end() && query->is_string(), row.origin,
               ": no text column \"query\" (activity label, colon, both contexts)");
  ChoiceQuestion question{*query, {}, 0};
  question.label = data::hellaswag_label(row);
  for (const nlohmann::ordered_json& ending : row.value.at("endings")) {
    NIBBLE_CHECK(ending.is_string() && ending != "", row.origin,
                 ": endings are texts that are not empty, found ", ending.dump());
    question.endings.push_back(ending);
  }
  return question;
}

}  // namespace

std::vector<ChoiceQuestion> read_hellaswag_questions(const data::RowSelection& selection) {
  std::vector<ChoiceQuestion> questions;
  for (const data::JsonRow& row : data::select_json_rows(selection)) {
    questions.push_back(read_question(row));
  }
  return questions;
}

MultipleChoice evaluate_multiple_choice(models::CausalLMImpl& model,
                                        const text::Tokenizer& tokenizer,
                                        std::span<const ChoiceQuestion> questions) {
  NIBBLE_CHECK(!questions.empty(), "multiple choice needs at least one question");
  const EvaluationScope scope(model);
  MultipleChoice result;
  for (const ChoiceQuestion& question : questions) {
    result.questions.push_back(score_question(model, tokenizer, question));
    const ChoiceScores& scores = result.questions.back();
    result.acc += scores.predicted == question.label ? 1 : 0;
    result.acc_norm += scores.predicted_normalized == question.label ? 1 : 0;
  }
  result.acc /= static_cast<double>(questions.size());
  result.acc_norm /= static_cast<double>(questions.size());
  return result;
}

nlohmann::json to_json(const MultipleChoice& result) {
  return {{"acc", result.acc}, {"acc_norm", result.acc_norm}, {"rows", result.questions.size()}};
}

}  // namespace nibble::eval
