#pragma once

#include <nibble/data/row.h>
#include <nibble/models/causal_lm.h>

#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <span>
#include <vector>

namespace nibble::eval {

struct RowScore {
  double nll_sum = 0;
  int64_t targets = 0;
  int64_t correct = 0;  ///< targets that have the highest logit, given the true tokens before them

  /// Greedy decoding would write exactly the targets.
  bool exact_match() const { return correct == targets; }
};

struct TeacherForcing {
  double loss = 0;            ///< sum over all targets / number of targets, nats: the training loss
  double token_accuracy = 0;  ///< share of targets with the highest logit
  double exact_match = 0;     ///< share of rows whose targets all have it
  int64_t targets = 0;
  std::vector<RowScore> rows;
};

/// Scores the targets of training rows, `batch_size` rows a forward. Rows must not be packed.
/// Throws Error for no rows or a row without a target.
TeacherForcing evaluate_rows(models::CausalLMImpl& model, std::span<const data::Row> rows,
                             int64_t batch_size = 8);

/// {"loss", "token_accuracy", "exact_match", "targets", "rows"}
nlohmann::json to_json(const TeacherForcing& result);

}  // namespace nibble::eval
