#include <nibble/core/error.h>
#include <nibble/data/row_encoder.h>
#include <nibble/eval/model_loading.h>
#include <nibble/models/generation.h>
#include <nibble/nn/quantization_spec.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <chrono>
#include <iostream>
#include <string>

#include "checks.h"
#include "run_main.h"

namespace {

using nibble::models::Generation;

struct Arguments {
  std::string model;
  std::string prompt;
  std::string dtype = "float32";
  bool raw = false;
  bool json = false;
  nibble::models::GenerationOptions options;
};

const char* name_of(nibble::models::FinishReason reason) {
  switch (reason) {
    case nibble::models::FinishReason::kStopToken:
      return "stop";
    case nibble::models::FinishReason::kTokenLimit:
      return "length";
    case nibble::models::FinishReason::kContextLimit:
      return "context";
    case nibble::models::FinishReason::kCallback:
      return "cancelled";
  }
  return "unknown";
}

std::vector<int64_t> encode(const nibble::data::TextFormat& format, const Arguments& arguments) {
  if (arguments.raw) {
    return format.tokenizer.encode_ids(arguments.prompt, /*add_special_tokens=*/true);
  }
  return nibble::data::encode_prompt(format, nibble::data::to_conversation(arguments.prompt));
}

int generate(int argc, char** argv) {
  Arguments arguments;
  CLI::App app{"Asks a model: full precision or quantized, Hugging Face directory or GGUF."};
  app.add_option("--model", arguments.model)->required();
  app.add_option("--prompt", arguments.prompt, "the user's message")->required();
  app.add_option("--max-new-tokens", arguments.options.max_new_tokens)
      ->check(nibble::apps::positive_integer());
  app.add_option("--temperature", arguments.options.temperature, "0: greedy");
  app.add_option("--top-k", arguments.options.top_k, "0: all");
  app.add_option("--top-p", arguments.options.top_p);
  app.add_option("--seed", arguments.options.seed);
  app.add_option("--dtype", arguments.dtype)->check(CLI::IsMember({"float32", "bfloat16"}));
  app.add_flag("--raw", arguments.raw, "no chat template: the prompt is continued");
  app.add_flag("--json", arguments.json, "one JSON object instead of text");
  CLI11_PARSE(app, argc, argv);

  const auto loaded = nibble::eval::load_any_model(
      arguments.model, {.dtype = arguments.dtype == "float32" ? at::kFloat : at::kBFloat16});
  const auto format = nibble::data::read_text_format(*loaded.checkpoint);
  const std::vector<int64_t> prompt = encode(format, arguments);

  std::vector<int64_t> seen;
  size_t printed = 0;
  arguments.options.on_token = [&](int64_t token) {
    seen.push_back(token);
    const std::string text = format.tokenizer.decode(seen, /*skip_special_tokens=*/true);
    // A character may take several tokens; its first ones decode to U+FFFD.
    if (!arguments.json && !text.ends_with("\xef\xbf\xbd")) {
      std::cout << text.substr(std::min(printed, text.size())) << std::flush;
      printed = text.size();
    }
    return true;
  };
  const auto start = std::chrono::steady_clock::now();
  const Generation answer = nibble::models::generate(*loaded.model, prompt, arguments.options);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;

  const std::string text = format.tokenizer.decode(answer.tokens, /*skip_special_tokens=*/true);
  if (arguments.json) {
    const nlohmann::ordered_json json = {{"prompt_tokens", prompt.size()},
                                         {"tokens", answer.tokens},
                                         {"text", text},
                                         {"finish_reason", name_of(answer.finish)},
                                         {"seconds", seconds.count()}};
    std::cout << json.dump() << std::endl;
  } else {
    // What was held back as an unfinished character and stayed one.
    std::cout << text.substr(std::min(printed, text.size())) << std::endl;
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) { return nibble::apps::run_main(generate, argc, argv); }
