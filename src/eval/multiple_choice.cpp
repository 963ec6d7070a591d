#include <nibble/core/error.h>
#include <nibble/data/batch.h>
#include <nibble/data/conversation.h>
#include <nibble/data/row.h>
#include <nibble/eval/multiple_choice.h>
#include <nibble/eval/scoring.h>
#include <nibble/models/rope.h>

#include <torch/torch.h>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>

namespace nibble::eval {
namespace {

/// Enough that an accelerator computes rather than waits for the launches of small operators.
constexpr int64_t kDeviceBatchTokens = 16384;

/// Unicode characters of UTF-8 text: every byte that does not continue one.
int64_t character_count(const std::string& text) {
  return std::count_if(text.begin(), text.end(),
                       [](char byte) { return (static_cast<unsigned char>(byte) & 0xc0) != 0x80; });
}

/// Token ids of the context with each ending, and how many of them are the context's.
struct TokenizedQuestion {
  std::vector<std::vector<int64_t>> texts;
  size_t context_tokens = 0;
  size_t longest = 0;  ///< tokens of the longest text but its last, which predicts nothing
};

TokenizedQuestion tokenize(const text::Tokenizer& tokenizer, const ChoiceQuestion& question) {
  const auto encode = [&](const std::string& text) {
    return tokenizer.encode_ids(text, /*add_special_tokens=*/false);
  };
  TokenizedQuestion tokens;
  tokens.context_tokens = encode(question.context).size();
  NIBBLE_CHECK(tokens.context_tokens > 0, "a multiple choice question needs a context");
  for (const std::string& ending : question.endings) {
    tokens.texts.push_back(encode(question.context + " " + ending));
    NIBBLE_CHECK(tokens.texts.back().size() > tokens.context_tokens, "the ending \"", ending,
                 "\" adds no token to \"", question.context, "\"");
    tokens.longest = std::max(tokens.longest, tokens.texts.back().size() - 1);
  }
  return tokens;
}

int64_t rotation_of(const models::CausalLMImpl& model, size_t tokens) {
  return models::rotation_of(model.config(), static_cast<int64_t>(tokens));
}

/// How many tokens of the context can be computed once: all texts begin with them, and its last
/// token, which predicts an ending's first, is not among them.
size_t shared_tokens(const models::CausalLMImpl& model, const TokenizedQuestion& question) {
  const std::vector<int64_t>& first = question.texts.front();
  size_t shared = question.context_tokens - 1;
  for (const std::vector<int64_t>& text : question.texts) {
    const auto end = first.begin() + static_cast<std::ptrdiff_t>(shared);
    shared =
        static_cast<size_t>(std::mismatch(first.begin(), end, text.begin()).first - first.begin());
  }
  // Keys that are to be rotated anew for the longer text cannot be shared.
  return rotation_of(model, shared) == rotation_of(model, question.longest) ? shared : 0;
}

/// The texts behind their first `skipped` tokens; targets are the tokens of the endings.
void append_rows(const TokenizedQuestion& question, size_t skipped, std::vector<data::Row>& rows) {
  for (const std::vector<int64_t>& text : question.texts) {
    const auto begin = text.begin() + static_cast<std::ptrdiff_t>(skipped);
    data::Row row{{begin, text.end() - 1}, {begin + 1, text.end()}};
    std::fill_n(row.labels.begin(), question.context_tokens - 1 - skipped, data::kIgnoreIndex);
    rows.push_back(std::move(row));
  }
}

/// Of each row, summed over its targets. With a `cache` the rows go on from what it holds.
std::vector<double> log_likelihoods(models::CausalLMImpl& model, const std::vector<data::Row>& rows,
                                    models::KVCache* cache = nullptr) {
  std::vector<const data::Row*> pointers;
  for (const data::Row& row : rows) pointers.push_back(&row);
  const data::Batch batch = data::collate(pointers, /*pad_id=*/0);
  const auto matrix = [&](const std::vector<int64_t>& values) {
    return torch::tensor(values, at::kLong).view({batch.rows, batch.length});
  };
  const at::Tensor nll =
      score_targets(model, matrix(batch.ids), matrix(batch.labels), cache).nll.to(at::kDouble);
  std::vector<double> sums;
  int64_t begin = 0;
  for (const data::Row& row : rows) {
    sums.push_back(-nll.narrow(0, begin, row.target_count()).sum().item<double>());
    begin += row.target_count();
  }
  return sums;
}

/// The keys and values of what the endings share are computed once.
std::vector<double> score_alone(models::CausalLMImpl& model, const TokenizedQuestion& question) {
  const size_t shared = shared_tokens(model, question);
  std::vector<data::Row> rows;
  append_rows(question, shared, rows);
  if (shared == 0) return log_likelihoods(model, rows);
  const auto prefix_length = static_cast<int64_t>(shared);
  models::KVCache prefix = model.make_cache(1, prefix_length);
  const at::Tensor beginning =
      at::tensor(at::ArrayRef<int64_t>(question.texts.front()).slice(0, shared), at::kLong);
  model.hidden_states(beginning.unsqueeze(0).to(device_of(model)), {.cache = &prefix});
  models::KVCache cache = prefix.repeated(
      std::ssize(rows), prefix_length + static_cast<int64_t>(question.longest - shared));
  return log_likelihoods(model, rows, &cache);
}

std::vector<double> score_together(models::CausalLMImpl& model,
                                   std::span<const TokenizedQuestion> questions) {
  std::vector<data::Row> rows;
  for (const TokenizedQuestion& question : questions) append_rows(question, 0, rows);
  return log_likelihoods(model, rows);
}

/// How many of the first questions are scored together: at least one, and no more than fill
/// `batch_tokens` when padded to the longest. All positions are rotated as each text needs it.
size_t batch_size(const models::CausalLMImpl& model, std::span<const TokenizedQuestion> questions,
                  int64_t batch_tokens) {
  size_t count = 0, texts = 0, longest = 0;
  for (const TokenizedQuestion& question : questions) {
    texts += question.texts.size();
    longest = std::max(longest, question.longest);
    const bool fits = texts * longest <= static_cast<size_t>(batch_tokens);
    const bool same_rotation =
        rotation_of(model, question.longest) == rotation_of(model, questions.front().longest);
    if (count > 0 && !(fits && same_rotation)) break;
    ++count;
  }
  return count;
}

ChoiceScores choose(const ChoiceQuestion& question, std::span<const double> log_likelihoods) {
  ChoiceScores scores;
  scores.log_likelihoods.assign(log_likelihoods.begin(), log_likelihoods.end());
  std::vector<double> normalized;
  for (size_t i = 0; i < question.endings.size(); ++i) {
    normalized.push_back(scores.log_likelihoods[i] /
                         static_cast<double>(character_count(question.endings[i])));
  }
  const auto best = [](const std::vector<double>& values) {
    return static_cast<size_t>(std::max_element(values.begin(), values.end()) - values.begin());
  };
  scores.predicted = best(scores.log_likelihoods);
  scores.predicted_normalized = best(normalized);
  scores.right = scores.predicted == question.label;
  scores.right_normalized = scores.predicted_normalized == question.label;
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
                                        std::span<const ChoiceQuestion> questions,
                                        std::optional<int64_t> batch_tokens) {
  NIBBLE_CHECK(!questions.empty(), "multiple choice needs at least one question");
  const EvaluationScope scope(model);
  const int64_t together =
      batch_tokens.value_or(device_of(model).is_cpu() ? 0 : kDeviceBatchTokens);
  NIBBLE_CHECK(together >= 0, "batch_tokens must be 0 or more, got ", together);
  std::vector<TokenizedQuestion> tokens;
  for (const ChoiceQuestion& question : questions) tokens.push_back(tokenize(tokenizer, question));

  std::vector<double> scores;
  for (std::span<const TokenizedQuestion> rest = tokens; !rest.empty();) {
    const size_t count = batch_size(model, rest, together);
    const std::vector<double> found =
        count == 1 ? score_alone(model, rest[0]) : score_together(model, rest.first(count));
    scores.insert(scores.end(), found.begin(), found.end());
    rest = rest.subspan(count);
  }

  MultipleChoice result;
  std::span<const double> unread = scores;
  for (const ChoiceQuestion& question : questions) {
    const size_t endings = question.endings.size();
    result.questions.push_back(choose(question, unread.first(endings)));
    unread = unread.subspan(endings);
    result.acc += result.questions.back().right ? 1 : 0;
    result.acc_norm += result.questions.back().right_normalized ? 1 : 0;
  }
  result.acc /= static_cast<double>(questions.size());
  result.acc_norm /= static_cast<double>(questions.size());
  return result;
}

/// As lm-evaluation-harness: the deviation of a sample over the root of its size.
double MultipleChoice::standard_error(double share) const {
  const auto count = static_cast<double>(questions.size());
  return count > 1 ? std::sqrt(share * (1 - share) / (count - 1)) : 0.0;
}

AccuracyLoss accuracy_loss(const MultipleChoice& reference, const MultipleChoice& result) {
  NIBBLE_CHECK(reference.questions.size() == result.questions.size() && !result.questions.empty(),
               "the results are of ", reference.questions.size(), " and ", result.questions.size(),
               " questions");
  double sum = 0, squares = 0;
  for (size_t i = 0; i < result.questions.size(); ++i) {
    const double lost = static_cast<double>(reference.questions[i].right_normalized) -
                        static_cast<double>(result.questions[i].right_normalized);
    sum += lost;
    squares += lost * lost;
  }
  const auto count = static_cast<double>(result.questions.size());
  const double mean = sum / count;
  const double variance = count > 1 ? (squares - count * mean * mean) / (count - 1) : 0.0;
  return {mean, std::sqrt(variance / count)};
}

nlohmann::json to_json(const MultipleChoice& result) {
  return {{"acc", result.acc},
          {"acc_stderr", result.acc_standard_error()},
          {"acc_norm", result.acc_norm},
          {"acc_norm_stderr", result.acc_norm_standard_error()},
          {"rows", result.questions.size()}};
}

}  // namespace nibble::eval
