#include "html_report.h"

#include <nibble/eval/html.h>

#include <algorithm>
#include <cmath>
#include <sstream>
#include <vector>

namespace quickstart {
namespace {

using nibble::eval::html::escape;
using nibble::eval::html::fixed;

constexpr double kWidth = 720;
constexpr double kHeight = 240;
constexpr double kMargin = 40;

std::string percent(double value) { return fixed(100 * value, 1) + " %"; }

const char* color_of(size_t curve) {
  static constexpr const char* kColors[] = {"#777", "#1f6fb2", "#c2571a"};
  return kColors[curve % 3];
}

/// Loss on a logarithmic axis over the steps.
std::string chart(const std::vector<Curve>& curves) {
  double lowest = 1e9;
  double highest = 1e-9;
  size_t steps = 1;
  for (const Curve& curve : curves) {
    steps = std::max(steps, static_cast<size_t>(curve.first_step) + curve.loss.size());
    for (const double loss : curve.loss) {
      lowest = std::min(lowest, std::max(loss, 1e-4));
      highest = std::max(highest, loss);
    }
  }
  const auto x = [&](double step) {
    return kMargin + (kWidth - 2 * kMargin) * step / static_cast<double>(steps);
  };
  const auto y = [&](double loss) {
    const double part = (std::log(std::max(loss, 1e-4)) - std::log(lowest)) /
                        std::max(1e-9, std::log(highest) - std::log(lowest));
    return kHeight - kMargin - (kHeight - 2 * kMargin) * part;
  };
  std::ostringstream svg;
  svg << "<svg viewBox=\"0 0 " << kWidth << ' ' << kHeight << "\" role=\"img\">";
  for (const double loss : {highest, std::sqrt(highest * lowest), lowest}) {
    svg << "<text x=\"0\" y=\"" << fixed(y(loss) + 4, 1) << "\">" << fixed(loss, 3) << "</text>"
        << "<line x1=\"" << kMargin << "\" x2=\"" << kWidth - kMargin << "\" y1=\""
        << fixed(y(loss), 1) << "\" y2=\"" << fixed(y(loss), 1) << "\" stroke=\"#ddd\"/>";
  }
  for (size_t i = 0; i < curves.size(); ++i) {
    svg << "<polyline fill=\"none\" stroke=\"" << color_of(i)
        << "\" stroke-width=\"1.5\" points=\"";
    for (size_t step = 0; step < curves[i].loss.size(); ++step) {
      svg << fixed(x(static_cast<double>(curves[i].first_step) + static_cast<double>(step)), 1)
          << ',' << fixed(y(curves[i].loss[step]), 1) << ' ';
    }
    svg << "\"/><text x=\"" << kMargin + 170 * static_cast<double>(i) << "\" y=\"14\" fill=\""
        << color_of(i) << "\">" << escape(curves[i].name) << "</text>";
  }
  svg << "<text x=\"" << kWidth - 90 << "\" y=\"" << kHeight - 10 << "\">" << steps
      << " steps</text></svg>";
  return svg.str();
}

using Cells = std::vector<std::string>;

Cells result_cells(const char* name, const nibble::eval::ModelResult& result, double cost) {
  return {name, fixed(result.loss, 4), (cost > 0 ? "+" : "") + fixed(cost, 4),
          percent(result.exact_match.value_or(0))};
}

std::string result_table(const nibble::eval::RecoveryReport& report) {
  return nibble::eval::html::table(
      {{"model", "loss (NLL)", "against full precision", "exact match"},
       result_cells("full precision", report.full_precision, 0),
       result_cells("int4 after training (PTQ)", report.ptq, report.ptq_cost()),
       result_cells("int4 with QAT", report.qat, report.qat_cost())});
}

Cells size_cells(const char* name, const nibble::eval::SizeChange& size) {
  return {name, fixed(static_cast<double>(size.full_precision_bytes) / 1e6, 1) + " MB",
          fixed(static_cast<double>(size.quantized_bytes) / 1e6, 1) + " MB",
          fixed(size.ratio(), 2) + "x smaller"};
}

std::string size_table(const nibble::eval::RecoveryReport& report) {
  std::vector<Cells> rows = {{"", "bfloat16", "quantized", ""}};
  if (report.layers) rows.push_back(size_cells("quantized layers", *report.layers));
  if (report.file) rows.push_back(size_cells("whole file, embedding int8", *report.file));
  return nibble::eval::html::table(rows);
}

std::string answer_cell(const std::string& answer, const std::string& expected) {
  return std::string("<td class=\"") + (answer == expected ? "right" : "wrong") + "\">" +
         escape(answer) + "</td>";
}

}  // namespace

std::string to_html(const Outcome& outcome) {
  const auto& report = outcome.report;
  std::ostringstream html;
  html << "<h1>int4 with and without QAT</h1><p>A "
       << "language model learns to redact personal data. Both branches start from the same "
       << "warm-up and see the same rows for the same number of steps; the held-out rows have "
       << "other names, numbers and sentences. Seed " << outcome.settings.seed << ", "
       << fixed(outcome.seconds / 60, 1) << " minutes.</p><h2>Training loss</h2>"
       << chart(outcome.curves) << "<h2>" << outcome.settings.held_out_rows << " held-out rows</h2>"
       << result_table(report) << "<p>";
  if (report.recovered().has_value()) {
    html << "QAT wins back <b>" << percent(*report.recovered())
         << "</b> of the loss that quantizing after training costs.";
  }
  html << " Exact match: every token of the answer is the model's first choice given the true "
       << "tokens before it.</p><h2>Size</h2>" << size_table(report)
       << "<h2>Answers</h2><table><tr><th>message</th><th>full precision</th><th>PTQ</th>"
       << "<th>QAT</th></tr>";
  for (const Answer& answer : outcome.answers) {
    html << "<tr><td>" << escape(answer.message) << "</td>"
         << answer_cell(answer.full_precision, answer.expected)
         << answer_cell(answer.ptq, answer.expected) << answer_cell(answer.qat, answer.expected)
         << "</tr>";
  }
  html << "</table><p>The rows shown are chosen: first some that QAT lost, then some that only PTQ "
       << "lost, then the first ones.</p><h2>A question to the int4 model</h2><p>"
       << escape(outcome.question) << "</p><p><b>" << escape(outcome.reply) << "</b></p>";
  return nibble::eval::html::page("nibble quickstart", html.str());
}

nlohmann::ordered_json to_json(const Outcome& outcome) {
  nlohmann::ordered_json json;
  const Settings& settings = outcome.settings;
  json["settings"] = {{"seed", settings.seed},
                      {"warmup_steps", settings.warmup_steps},
                      {"branch_steps", settings.branch_steps},
                      {"delay_steps", settings.delay_steps},
                      {"rows_per_step", settings.rows_per_step},
                      {"held_out_rows", settings.held_out_rows},
                      {"group_size", settings.group_size},
                      {"lr", settings.lr}};
  json["seconds"] = outcome.seconds;
  json["report"] = nibble::eval::to_json(outcome.report);
  for (const Curve& curve : outcome.curves) {
    json["curves"].push_back(
        {{"name", curve.name}, {"first_step", curve.first_step}, {"loss", curve.loss}});
  }
  for (const Answer& answer : outcome.answers) {
    json["answers"].push_back({{"message", answer.message},
                               {"expected", answer.expected},
                               {"full_precision", answer.full_precision},
                               {"ptq", answer.ptq},
                               {"qat", answer.qat}});
  }
  json["question"] = outcome.question;
  json["reply"] = outcome.reply;
  return json;
}

}  // namespace quickstart
