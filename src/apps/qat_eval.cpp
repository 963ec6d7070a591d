#include <nibble/core/error.h>
#include <nibble/data/row_encoder.h>
#include <nibble/eval/comparison.h>
#include <nibble/eval/logits.h>
#include <nibble/eval/model_loading.h>
#include <nibble/eval/multiple_choice.h>
#include <nibble/eval/perplexity.h>
#include <nibble/io/file.h>
#include <nibble/io/json.h>
#include <nibble/quantization/quantize.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <iostream>

#include "checks.h"
#include "compared_models.h"
#include "eval_arguments.h"
#include "run_main.h"

namespace {

using nibble::apps::EvalArguments;

nlohmann::json measure(const EvalArguments& arguments, nibble::eval::LoadedModel& loaded) {
  nibble::models::CausalLMImpl& model = *loaded.model;
  const auto tokenizer = nibble::text::Tokenizer::from_json(loaded.checkpoint->tokenizer_json(),
                                                            arguments.model + ": tokenizer");
  nlohmann::json results = nlohmann::json::object();
  if (!arguments.perplexity.empty()) {
    std::vector<int64_t> ids = tokenizer.encode_ids(
        nibble::io::read_text_file(arguments.perplexity), /*add_special_tokens=*/false);
    if (arguments.max_tokens && static_cast<size_t>(*arguments.max_tokens) < ids.size()) {
      ids.resize(static_cast<size_t>(*arguments.max_tokens));
    }
    NIBBLE_CHECK(ids.size() >= 2, arguments.perplexity,
                 ": perplexity needs at least 2 tokens, got ", ids.size(),
                 arguments.max_tokens ? " under --max-tokens" : "");
    const int64_t context =
        arguments.context.value_or(nibble::eval::default_context(model.config()));
    results["perplexity"] = to_json(nibble::eval::evaluate_perplexity(model, ids, context));
  }
  if (!arguments.hellaswag.empty()) {
    const auto questions = arguments.questions(arguments.limit);
    results["hellaswag"] =
        to_json(nibble::eval::evaluate_multiple_choice(model, tokenizer, questions));
  }
  if (const auto rows = arguments.row_selection()) {
    const auto format = nibble::data::read_text_format(*loaded.checkpoint);
    const auto dataset = nibble::data::load_sft_dataset(*rows, arguments.row_options(), format);
    results["rows"] = to_json(nibble::eval::evaluate_rows(model, dataset.rows));
  }
  if (arguments.logits) {
    const std::vector<int64_t> ids = arguments.logit_ids();
    nibble::eval::write_logits(model, ids, arguments.logits_path);
    results["logits"] = {{"path", arguments.logits_path}, {"tokens", ids.size()}};
  }
  return results;
}

nlohmann::json evaluate_one(const EvalArguments& arguments) {
  auto loaded = nibble::eval::load_any_model(arguments.model, arguments.compute.load_options());
  if (!arguments.quantization.scheme.empty()) {
    const auto config = arguments.quantization.post_training_config();
    std::cerr << nibble::quantize_(*loaded.model, config).to_string() << std::endl;
  }
  nlohmann::json results = measure(arguments, loaded);
  std::cout << results.dump(2) << std::endl;
  return results;
}

nlohmann::json compare(const EvalArguments& arguments) {
  const auto models =
      nibble::apps::read_compared_models(arguments.compare, arguments.compute.load_options());
  const auto comparison = nibble::eval::compare_models(models, arguments.comparison_task());
  std::cout << to_text(comparison) << std::flush;
  if (!arguments.html.empty()) {
    nibble::io::write_file_atomically(arguments.html, to_html(comparison));
  }
  return to_json(comparison);
}

int evaluate(int argc, char** argv) {
  EvalArguments arguments;
  CLI::App app{
      "Measures a model in full precision, under post-training quantization, or converted; or "
      "compares several."};
  arguments.add(app);
  CLI11_PARSE(app, argc, argv);
  arguments.check();
  const nlohmann::json results =
      arguments.compare.empty() ? evaluate_one(arguments) : compare(arguments);
  if (!arguments.json.empty()) nibble::io::write_json_file(arguments.json, results);
  return 0;
}

}  // namespace

int main(int argc, char** argv) { return nibble::apps::run_main(evaluate, argc, argv); }
