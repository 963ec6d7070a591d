#include "eval_arguments.h"

#include <nibble/core/error.h>
#include <nibble/io/file.h>

#include "checks.h"

namespace nibble::apps {
namespace {

/// Of a comparison: 40 of the usual windows, so more than 20,000 tokens are scored.
constexpr int64_t kComparedTokens = 40 * 512;
constexpr int64_t kComparedRows = 2000;

}  // namespace

void EvalArguments::add(CLI::App& app) {
  auto* one =
      app.add_option("--model", model, "Hugging Face directory, GGUF file or converted model");
  auto* several =
      app.add_option("--compare", compare,
                     "NAME=MODEL ..., fp or the first the reference; MODEL may be a training "
                     "checkpoint, or SCHEME[:GROUP][:GRID][:SCALE_DTYPE], the reference after "
                     "post-training quantization")
          ->excludes(one);
  app.add_flag("--allow-different", allow_different,
               "compares models that record different origins")
      ->needs(several);
  compute.add(app);
  quantization.add(app, "--quantize",
                   "post-training quantization; default group 32 and float32 scales for 8da4w, "
                   "group 128, asymmetric and bfloat16 for 4w",
                   /*need_scheme=*/true);
  app.get_option("--quantize")->excludes(several);
  auto* text = app.add_option("--perplexity", perplexity, "a text file, read as it is");
  app.add_option("--context", context, "tokens in a window, default 512 or what the model can hold")
      ->needs(text);
  app.add_option("--max-tokens", max_tokens, "of the text; default all, in a comparison 20480")
      ->check(positive_integer())
      ->needs(text);
  app.add_option("--hellaswag", hellaswag, "JSONL rows: query, endings, label");
  app.add_option("--rows", rows,
                 "JSONL rows for the loss of their answers: messages, instruction/input/output, "
                 "or question/answer");
  app.add_option("--limit", limit,
                 "rows of --hellaswag and of --rows; default all, in a comparison 2000")
      ->check(positive_integer());
  auto* tokens =
      app.add_option("--logits", logits, "token ids, separated by commas")->excludes(several);
  app.add_option("--out", logits_path, "where --logits go (safetensors)")->needs(tokens);
  app.add_option("--json", json, "results as JSON");
  app.add_option("--html", html, "a comparison as a page")->needs(several);
}

void EvalArguments::check() const {
  NIBBLE_CHECK(!model.empty() || !compare.empty(), "give --model or --compare");
  NIBBLE_CHECK(!perplexity.empty() || !hellaswag.empty() || !rows.empty() || logits,
               "nothing to measure: give --perplexity, --hellaswag, --rows or --logits");
  NIBBLE_CHECK(!limit || !hellaswag.empty() || !rows.empty(),
               "--limit is for --hellaswag and --rows");
  if (!json.empty()) check_can_write("--json", json);
  if (!html.empty()) check_can_write("--html", html);
  if (!logits) return;
  logit_ids();
  check_can_write("--out", logits_path);
}

std::vector<int64_t> EvalArguments::logit_ids() const {
  return token_ids_from("--logits", *logits);
}

std::vector<eval::ChoiceQuestion> EvalArguments::questions(std::optional<int64_t> most) const {
  return eval::read_hellaswag_questions({.paths = {hellaswag}, .limit = most});
}

std::optional<data::RowSelection> EvalArguments::row_selection() const {
  if (rows.empty()) return std::nullopt;
  const bool compared = !compare.empty();
  return data::RowSelection{.paths = {rows},
                            .limit = compared ? limit.value_or(kComparedRows) : limit};
}

data::SftOptions EvalArguments::row_options() const {
  if (rows.empty()) return {};
  const auto found = data::select_json_rows({.paths = {rows}, .limit = 1});
  const auto has = [&](const char* name) { return found.front().value.contains(name); };
  data::SftOptions options;
  if (has("messages") || has("conversations")) {
    options.format = data::RowFormat::kChat;
  } else if (has("instruction")) {
    options.columns = data::alpaca_columns();
    if (!has("input")) options.columns.question = {"instruction"};
  } else {
    options.columns.question = {"question"};
    options.columns.answer = "answer";
  }
  return options;
}

eval::ComparisonTask EvalArguments::comparison_task() const {
  eval::ComparisonTask task;
  if (!perplexity.empty()) task.text = io::read_text_file(perplexity);
  task.max_tokens = max_tokens.value_or(kComparedTokens);
  task.context = context;
  if (!hellaswag.empty()) task.questions = questions(limit.value_or(kComparedRows));
  task.rows = row_selection();
  task.row_options = row_options();
  task.allow_different = allow_different;
  return task;
}

}  // namespace nibble::apps
