#include <nibble/core/error.h>
#include <nibble/data/row_encoder.h>
#include <nibble/eval/logits.h>
#include <nibble/eval/model_loading.h>
#include <nibble/eval/multiple_choice.h>
#include <nibble/eval/perplexity.h>
#include <nibble/io/file.h>
#include <nibble/io/json.h>
#include <nibble/quantization/quantize.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <iostream>
#include <optional>
#include <string>
#include <vector>

#include "checks.h"
#include "quantization_flags.h"
#include "run_main.h"

namespace {

struct Arguments {
  std::string model, dtype = "float32";
  nibble::apps::QuantizationFlags quantization;  ///< without a scheme: no PTQ
  std::string perplexity;
  std::optional<int64_t> context;
  std::optional<int64_t> max_tokens;
  std::string hellaswag;
  std::optional<int64_t> limit;
  std::vector<int64_t> logits;
  std::string logits_path = "logits.safetensors";
  std::string json;
};

void add_options(CLI::App& app, Arguments& arguments) {
  const CLI::IsMember dtypes({"float32", "bfloat16"});
  app.add_option("--model", arguments.model, "Hugging Face directory, GGUF file or converted model")
      ->required();
  app.add_option("--dtype", arguments.dtype, "of weights and compute")->check(dtypes);
  arguments.quantization.add(app, "--quantize",
                             "post-training quantization; default group 32 and float32 scales for "
                             "8da4w, group 128, asymmetric and bfloat16 for 4w",
                             /*need_scheme=*/true);
  auto* perplexity =
      app.add_option("--perplexity", arguments.perplexity, "a text file, read as it is");
  app.add_option("--context", arguments.context,
                 "tokens in a window, default 512 or what the model can hold")
      ->needs(perplexity);
  app.add_option("--max-tokens", arguments.max_tokens, "of the text")
      ->check(nibble::apps::positive_integer())
      ->needs(perplexity);
  auto* hellaswag =
      app.add_option("--hellaswag", arguments.hellaswag, "JSONL rows: query, endings, label");
  app.add_option("--limit", arguments.limit, "rows of --hellaswag")
      ->check(nibble::apps::positive_integer())
      ->needs(hellaswag);
  auto* logits = app.add_option("--logits", arguments.logits, "token ids")->delimiter(',');
  app.add_option("--out", arguments.logits_path, "where --logits go (safetensors)")->needs(logits);
  app.add_option("--json", arguments.json, "results as JSON");
}

nibble::QuantizeConfig ptq_config(const nibble::apps::QuantizationFlags& flags) {
  nibble::QuantizeConfig config = flags.scheme == "8da4w"
                                      ? nibble::int8_dynamic_activation_int4_weight()
                                      : nibble::int4_weight_only();
  config.spec = flags.applied_to(config.spec);
  return config;
}

nlohmann::json run(const Arguments& arguments, nibble::eval::LoadedModel& loaded) {
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
    constexpr int64_t kDefaultContext = 512;
    const int64_t context = arguments.context.value_or(
        std::min(kDefaultContext, loaded.model->config().max_position_embeddings));
    results["perplexity"] = to_json(nibble::eval::evaluate_perplexity(*loaded.model, ids, context));
  }
  if (!arguments.hellaswag.empty()) {
    const auto questions = nibble::eval::read_hellaswag_questions(
        {.paths = {arguments.hellaswag}, .limit = arguments.limit});
    results["hellaswag"] =
        to_json(nibble::eval::evaluate_multiple_choice(*loaded.model, tokenizer, questions));
  }
  if (!arguments.logits.empty()) {
    nibble::eval::write_logits(*loaded.model, arguments.logits, arguments.logits_path);
    results["logits"] = {{"path", arguments.logits_path}, {"tokens", arguments.logits.size()}};
  }
  return results;
}

int evaluate(int argc, char** argv) {
  Arguments arguments;
  CLI::App app{
      "Measures a model in full precision, under post-training quantization, or converted."};
  add_options(app, arguments);
  CLI11_PARSE(app, argc, argv);
  NIBBLE_CHECK(
      !arguments.perplexity.empty() || !arguments.hellaswag.empty() || !arguments.logits.empty(),
      "nothing to measure: give --perplexity, --hellaswag or --logits");
  if (!arguments.json.empty()) nibble::apps::check_can_write("--json", arguments.json);
  if (!arguments.logits.empty()) nibble::apps::check_can_write("--out", arguments.logits_path);

  auto loaded = nibble::eval::load_any_model(arguments.model,
                                             {.dtype = nibble::apps::dtype_from(arguments.dtype)});
  if (!arguments.quantization.scheme.empty()) {
    std::cerr << nibble::quantize_(*loaded.model, ptq_config(arguments.quantization)).to_string()
              << std::endl;
  }
  const nlohmann::json results = run(arguments, loaded);
  std::cout << results.dump(2) << std::endl;
  if (!arguments.json.empty()) nibble::io::write_json_file(arguments.json, results);
  return 0;
}

}  // namespace

int main(int argc, char** argv) { return nibble::apps::run_main(evaluate, argc, argv); }
