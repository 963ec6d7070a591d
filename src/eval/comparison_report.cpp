#include <nibble/core/error.h>
#include <nibble/eval/comparison.h>
#include <nibble/eval/html.h>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <iomanip>
#include <sstream>

#include "comparison_tables.h"
#include "json_values.h"

namespace nibble::eval {
namespace {

using nlohmann::json;

json to_json(const OriginCheck& check) {
  json values = json::array();
  for (const std::string& value : check.values) {
    values.push_back(value.empty() ? json() : json(value));
  }
  return {{"what", check.what},
          {"values", values},
          {"differs", check.differs()},
          {"recorded_everywhere", check.is_recorded_everywhere()}};
}

json accuracy_json(const ModelMeasurement& model) {
  json result = nibble::eval::to_json(*model.choice);
  result["acc_norm_lost"] = model.lost ? json(model.lost->lost) : json();
  result["acc_norm_lost_stderr"] = model.lost ? json(model.lost->standard_error) : json();
  result["promised_lost"] =
      model.promise ? json{{"least", model.promise->least}, {"most", model.promise->most}} : json();
  result["promise_kept"] = or_null(model.keeps_promise());
  return result;
}

json to_json(const ModelMeasurement& model) {
  json result = {{"name", model.name},
                 {"path", model.path},
                 {"quantization", model.quantization},
                 {"disk_bytes", or_null(model.disk_bytes)},
                 {"memory_bytes", model.memory_bytes},
                 {"prefill_tokens_per_second", model.prefill_tokens_per_second},
                 {"decode_tokens_per_second", model.decode_tokens_per_second}};
  result["rows"] = model.rows ? nibble::eval::to_json(*model.rows) : json();
  result["perplexity"] = model.text ? nibble::eval::to_json(model.text->perplexity) : json();
  if (model.text) result["perplexity"]["loss"] = model.text->perplexity.loss();
  const bool compared = model.text && model.same_tokens;
  result["top_token_agreement"] = compared ? json(model.text->top_token_agreement) : json();
  result["kl"] = compared ? json(model.text->kl) : json();
  result["hellaswag"] = model.choice ? accuracy_json(model) : json();
  return result;
}

/// Characters of UTF-8 text.
size_t width_of(const std::string& text) {
  return static_cast<size_t>(std::count_if(
      text.begin(), text.end(), [](unsigned char byte) { return (byte & 0xc0) != 0x80; }));
}

void print(std::ostream& out, const TextTable& table) {
  std::vector<size_t> widths(table.front().size());
  for (const auto& row : table) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], width_of(row[i]));
  }
  for (const auto& row : table) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      line += row[i] + std::string(widths[i] - width_of(row[i]) + 2, ' ');
    }
    out << line.substr(0, line.find_last_not_of(' ') + 1) << "\n";
  }
}

constexpr const char* kNotes =
    "+- is one standard error; that of what was lost is paired, over the same rows. Promises hold "
    "for acc_norm against the first model. KL is in float32 over all scored tokens.";

}  // namespace

json to_json(const Comparison& comparison) {
  json checks = json::array(), models = json::array();
  for (const OriginCheck& check : comparison.checks) checks.push_back(to_json(check));
  for (const ModelMeasurement& model : comparison.models) models.push_back(to_json(model));
  return {{"comparable", checks},
          {"models", models},
          {"speed",
           {{"prompt_tokens", comparison.speed_prompt_tokens},
            {"new_tokens", comparison.speed_new_tokens}}}};
}

std::string to_text(const Comparison& comparison) {
  std::ostringstream out;
  print(out, origin_table(comparison));
  out << "\n";
  print(out, measurement_table(comparison));
  out << "\n" << kNotes << "\n";
  return out.str();
}

std::string to_html(const Comparison& comparison) {
  const std::string title = "What quantization costs";
  return html::page(title, "<h1>" + title + "</h1><h2>Measured</h2>" +
                               html::table(measurement_table(comparison)) + "<p>" +
                               html::escape(kNotes) + "</p><h2>Comparable</h2>" +
                               html::table(origin_table(comparison)));
}

}  // namespace nibble::eval
