#include <nibble/core/error.h>
#include <nibble/data/batch.h>
#include <nibble/eval/scoring.h>
#include <nibble/eval/teacher_forcing.h>

#include <torch/torch.h>

#include <nlohmann/json.hpp>

#include <algorithm>

namespace nibble::eval {
namespace {

at::Tensor to_matrix(const std::vector<int64_t>& values, const data::Batch& batch) {
  return torch::tensor(values, at::kLong).view({batch.rows, batch.length});
}

void score_batch(models::CausalLMImpl& model, std::span<const data::Row* const> rows,
                 std::vector<RowScore>& out) {
  const data::Batch batch = data::collate(rows, /*pad_id=*/0);
  const TargetScores scores =
      score_targets(model, to_matrix(batch.ids, batch), to_matrix(batch.labels, batch));
  int64_t begin = 0;
  for (const data::Row* row : rows) {
    const int64_t targets = row->target_count();
    out.push_back({scores.nll.narrow(0, begin, targets).to(at::kDouble).sum().item<double>(),
                   targets, scores.correct.narrow(0, begin, targets).sum().item<int64_t>()});
    begin += targets;
  }
}

TeacherForcing summarize(std::vector<RowScore> rows) {
  TeacherForcing result;
  double nll_sum = 0;
  int64_t correct = 0, matches = 0;
  for (const RowScore& row : rows) {
    nll_sum += row.nll_sum;
    correct += row.correct;
    result.targets += row.targets;
    matches += row.exact_match() ? 1 : 0;
  }
  result.loss = nll_sum / static_cast<double>(result.targets);
  result.token_accuracy = static_cast<double>(correct) / static_cast<double>(result.targets);
  result.exact_match = static_cast<double>(matches) / static_cast<double>(rows.size());
  result.rows = std::move(rows);
  return result;
}

}  // namespace

TeacherForcing evaluate_rows(models::CausalLMImpl& model, std::span<const data::Row> rows,
                             int64_t batch_size) {
  NIBBLE_CHECK(!rows.empty(), "an evaluation needs at least one row");
  NIBBLE_CHECK(batch_size > 0, "batch size ", batch_size, "; allowed: 1 and more");
  const EvaluationScope scope(model);
  std::vector<RowScore> scores;
  std::vector<const data::Row*> batch;
  for (const data::Row& row : rows) {
    NIBBLE_CHECK(row.target_count() > 0 && row.segments.empty(), "row ",
                 scores.size() + batch.size(), " has no target, or is packed");
    batch.push_back(&row);
    if (static_cast<int64_t>(batch.size()) == batch_size || &row == &rows.back()) {
      score_batch(model, batch, scores);
      batch.clear();
    }
  }
  return summarize(std::move(scores));
}

nlohmann::json to_json(const TeacherForcing& result) {
  return {{"loss", result.loss},
          {"token_accuracy", result.token_accuracy},
          {"exact_match", result.exact_match},
          {"targets", result.targets},
          {"rows", result.rows.size()}};
}

}  // namespace nibble::eval
