#pragma once

#include <nibble/data/json_rows.h>
#include <nibble/models/causal_lm.h>
#include <nibble/text/tokenizer.h>

#include <nlohmann/json_fwd.hpp>

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace nibble::eval {

struct ChoiceQuestion {
  std::string context;
  std::vector<std::string> endings;
  size_t label = 0;  ///< the right one of `endings`
};

/// HellaSwag rows: `query` (activity label, colon, both contexts), `endings`, `label`. Throws Error
/// with the row's file and line.
std::vector<ChoiceQuestion> read_hellaswag_questions(const data::RowSelection& selection);

struct ChoiceScores {
  std::vector<double> log_likelihoods = {};  ///< of the endings, summed over their tokens, nats
  size_t predicted = 0;                      ///< the ending with the highest
  size_t predicted_normalized = 0;           ///< the same after division by the ending's characters
  bool right = false;                        ///< `predicted` is the label
  bool right_normalized = false;
};

struct MultipleChoice {
  double acc = 0;       ///< share of questions where `predicted` is right
  double acc_norm = 0;  ///< share where `predicted_normalized` is right
  std::vector<ChoiceScores> questions;

  double acc_standard_error() const { return standard_error(acc); }
  double acc_norm_standard_error() const { return standard_error(acc_norm); }

 private:
  double standard_error(double share) const;
};

/// How much of acc_norm one model has lost against another on the same questions.
struct AccuracyLoss {
  double lost = 0;            ///< of 1; negative: it is better
  double standard_error = 0;  ///< of the paired difference
};

/// Throws Error when the results are not of the same number of questions.
AccuracyLoss accuracy_loss(const MultipleChoice& reference, const MultipleChoice& result);

/// The convention of lm-evaluation-harness: the continuation is a blank and the ending, context and
/// continuation are tokenized together without special tokens and cut at the context's own number
/// of tokens. Ties go to the first ending. Throws Error for no questions, a context without tokens,
/// an ending that adds none or negative batch_tokens.
///   batch_tokens  as many whole questions are scored together as these hold, padding included; one
///                 that is scored alone computes once what its endings share. By default 0 on the
///                 CPU and 16,384 elsewhere. Scores differ by the rounding of the kernels.
MultipleChoice evaluate_multiple_choice(models::CausalLMImpl& model,
                                        const text::Tokenizer& tokenizer,
                                        std::span<const ChoiceQuestion> questions,
                                        std::optional<int64_t> batch_tokens = std::nullopt);

/// {"acc", "acc_stderr", "acc_norm", "acc_norm_stderr", "rows"}
nlohmann::json to_json(const MultipleChoice& result);

}  // namespace nibble::eval
