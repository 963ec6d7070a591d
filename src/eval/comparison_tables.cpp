#include "comparison_tables.h"

#include <nibble/core/error.h>
#include <nibble/eval/html.h>

#include <functional>
#include <utility>

namespace nibble::eval {
namespace {

using detail::concat;
using html::fixed;

constexpr const char* kNotMeasured = "-";

std::string percent(double share, int digits = 2) { return fixed(100 * share, digits); }

std::string plus_minus(double share, double standard_error) {
  return percent(share) + " +- " + percent(standard_error);
}

std::string megabytes(int64_t bytes) { return fixed(static_cast<double>(bytes) / 1e6, 1); }

std::string promised(const AccuracyPromise& promise) {
  return promise.least > 0 ? percent(promise.least, 1) + " to " + percent(promise.most, 1)
                           : "under " + percent(promise.most, 1);
}

class TableBuilder {
 public:
  explicit TableBuilder(const Comparison& comparison) : comparison_(comparison) {
    table_.push_back({""});
    for (const ModelMeasurement& model : comparison.models) table_[0].push_back(model.name);
  }

  using Cell = std::function<std::string(const ModelMeasurement&)>;

  void add(std::string what, const Cell& cell) {
    std::vector<std::string> row = {std::move(what)};
    for (const ModelMeasurement& model : comparison_.models) row.push_back(cell(model));
    table_.push_back(std::move(row));
  }

  TextTable take() { return std::move(table_); }

 private:
  const Comparison& comparison_;
  TextTable table_;
};

void add_text(TableBuilder& table, const ModelMeasurement& reference) {
  if (!reference.text) return;
  table.add(
      concat("loss of the text, nats a token (", reference.text->perplexity.scored, " tokens)"),
      [](const auto& model) { return fixed(model.text->perplexity.loss(), 4); });
  table.add("perplexity", [](const auto& model) { return fixed(model.text->perplexity.value, 3); });
  table.add(concat("top token as ", reference.name, ", %"), [](const auto& model) {
    return model.same_tokens ? percent(model.text->top_token_agreement) : kNotMeasured;
  });
  table.add(concat("KL(", reference.name, " || model), nats a token"), [](const auto& model) {
    return model.same_tokens ? fixed(model.text->kl, 5) : kNotMeasured;
  });
}

void add_choice(TableBuilder& table, const ModelMeasurement& reference) {
  if (!reference.choice) return;
  table.add(concat("HellaSwag acc, % (", reference.choice->questions.size(), " rows)"),
            [](const auto& model) {
              return plus_minus(model.choice->acc, model.choice->acc_standard_error());
            });
  table.add("HellaSwag acc_norm, %", [](const auto& model) {
    return plus_minus(model.choice->acc_norm, model.choice->acc_norm_standard_error());
  });
  table.add(concat("acc_norm lost against ", reference.name, ", points"), [](const auto& model) {
    return model.lost ? plus_minus(model.lost->lost, model.lost->standard_error) : kNotMeasured;
  });
  table.add("promised, points", [](const auto& model) {
    if (!model.promise) return std::string(kNotMeasured);
    return promised(*model.promise) + (*model.keeps_promise() ? ": met" : ": not met");
  });
}

}  // namespace

TextTable origin_table(const Comparison& comparison) {
  TextTable table = {{""}};
  for (const ModelMeasurement& model : comparison.models) table[0].push_back(model.name);
  table[0].push_back("agree");
  for (const OriginCheck& check : comparison.checks) {
    std::vector<std::string> row = {check.what};
    for (const std::string& value : check.values) {
      row.push_back(value.empty() ? "not recorded" : value);
    }
    row.push_back(check.differs() ? "no" : check.is_recorded_everywhere() ? "yes" : "not known");
    table.push_back(std::move(row));
  }
  return table;
}

TextTable measurement_table(const Comparison& comparison) {
  const ModelMeasurement& reference = comparison.models.front();
  TableBuilder table(comparison);
  table.add("quantization", [](const auto& model) { return model.quantization; });
  table.add("on disk, MB", [](const auto& model) {
    return model.disk_bytes ? megabytes(*model.disk_bytes) : kNotMeasured;
  });
  table.add("in memory, MB", [](const auto& model) { return megabytes(model.memory_bytes); });
  if (reference.rows) {
    table.add(concat("loss of the rows, nats a target (", reference.rows->rows.size(), " rows)"),
              [](const auto& model) { return fixed(model.rows->loss, 4); });
  }
  add_text(table, reference);
  add_choice(table, reference);
  table.add(concat("prefill, tokens/s (", comparison.speed_prompt_tokens, " tokens)"),
            [](const auto& model) { return fixed(model.prefill_tokens_per_second, 1); });
  table.add(concat("decode, tokens/s (", comparison.speed_new_tokens, " tokens)"),
            [](const auto& model) { return fixed(model.decode_tokens_per_second, 1); });
  return table.take();
}

}  // namespace nibble::eval
