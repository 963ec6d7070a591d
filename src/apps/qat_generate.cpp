#include <nibble/core/error.h>
#include <nibble/data/row_encoder.h>
#include <nibble/eval/chat_session.h>
#include <nibble/eval/model_loading.h>
#include <nibble/models/generation.h>
#include <nibble/text/stream_decoder.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <iostream>
#include <string>
#include <unistd.h>
#include <vector>

#include "chat.h"
#include "checks.h"
#include "generation_report.h"
#include "prompts.h"
#include "quantization_flags.h"
#include "run_main.h"

namespace {

using nibble::apps::GenerationReport;
using nibble::data::TextFormat;
using nibble::models::Generation;
using nlohmann::ordered_json;

struct Arguments {
  std::string model;
  nibble::apps::PromptFlags prompts;
  nibble::apps::ComputeFlags compute;
  bool chat = false, json = false;
  int64_t batch_size = 8;
  nibble::models::GenerationOptions options;
};

void add_options(CLI::App& app, Arguments& arguments) {
  app.add_option("--model", arguments.model)->required();
  arguments.prompts.add(app);
  app.add_flag("--chat", arguments.chat, "reads messages; the default on a terminal without prompt")
      ->excludes("--prompt")
      ->excludes("--prompts")
      ->excludes("--raw");
  app.add_option("--batch-size", arguments.batch_size, "prompts answered at once, default 8")
      ->check(nibble::apps::positive_integer());
  app.add_option("--max-new-tokens", arguments.options.max_new_tokens)
      ->check(nibble::apps::positive_integer());
  app.add_option("--temperature", arguments.options.temperature, "0: greedy");
  app.add_option("--top-k", arguments.options.top_k, "0: all");
  app.add_option("--top-p", arguments.options.top_p);
  app.add_option("--seed", arguments.options.seed);
  arguments.compute.add(app);
  app.add_flag("--json", arguments.json,
               "one JSON object instead of text; in a chat one an answer");
}

ordered_json to_json(size_t prompt_tokens, const Generation& answer, const std::string& text) {
  return {{"prompt_tokens", prompt_tokens},
          {"tokens", answer.tokens},
          {"text", text},
          {"finish_reason", nibble::apps::name_of(answer.finish)}};
}

void answer_one(nibble::models::CausalLMImpl& model, const TextFormat& format,
                const std::vector<int64_t>& prompt, Arguments& arguments,
                GenerationReport& report) {
  nibble::text::StreamDecoder stream(format.tokenizer);
  std::string text;
  const auto show = [&](const std::string& piece) {
    text += piece;
    if (!arguments.json) std::cout << piece << std::flush;
  };
  arguments.options.on_token = [&](int64_t token) {
    show(stream.push(token));
    return true;
  };
  const Generation answer = nibble::models::generate(model, prompt, arguments.options);
  show(stream.finish());
  report.cost = answer.cost;
  if (arguments.json) {
    ordered_json json = to_json(prompt.size(), answer, text);
    report.write(json);
    std::cout << json.dump();
  }
  std::cout << std::endl;
}

void answer_all(nibble::models::CausalLMImpl& model, const TextFormat& format,
                const std::vector<std::vector<int64_t>>& prompts, const Arguments& arguments,
                GenerationReport& report) {
  ordered_json answers = ordered_json::array();
  const auto batch_size = static_cast<size_t>(arguments.batch_size);
  for (size_t begin = 0; begin < prompts.size(); begin += batch_size) {
    const auto batch =
        std::span(prompts).subspan(begin, std::min(batch_size, prompts.size() - begin));
    const auto result = nibble::models::generate_batch(model, batch, arguments.options);
    report.cost += result.cost;
    for (size_t i = 0; i < batch.size(); ++i) {
      const std::string text = format.tokenizer.decode(result.rows[i].tokens, true);
      if (arguments.json) {
        answers.push_back(to_json(batch[i].size(), result.rows[i], text));
      } else {
        std::cout << "--- " << begin + i + 1 << "\n" << text << std::endl;
      }
    }
  }
  if (!arguments.json) return;
  ordered_json json = {{"answers", std::move(answers)}};
  report.write(json);
  std::cout << json.dump() << std::endl;
}

void chat(nibble::models::CausalLMImpl& model, const TextFormat& format, const Arguments& arguments,
          GenerationReport& report) {
  nibble::eval::ChatSession session(model, format, arguments.options, arguments.prompts.system);
  nibble::apps::run_chat(session, {std::cin, std::cout, std::cerr}, arguments.json,
                         ::isatty(STDIN_FILENO) == 1, report);
}

int generate(int argc, char** argv) {
  Arguments arguments;
  CLI::App app{"Asks a model: full precision or quantized, Hugging Face directory or GGUF."};
  add_options(app, arguments);
  CLI11_PARSE(app, argc, argv);
  const bool asked = arguments.prompts.any();
  NIBBLE_CHECK(asked || arguments.chat || ::isatty(STDIN_FILENO) == 1,
               "nothing to answer: give --prompt, --prompts or --chat");

  const auto loaded =
      nibble::eval::load_any_model(arguments.model, arguments.compute.load_options());
  const TextFormat format = nibble::data::read_text_format(*loaded.checkpoint);
  GenerationReport report{.model_bytes = nibble::eval::memory_bytes(*loaded.model)};
  if (!asked) {
    chat(*loaded.model, format, arguments, report);
  } else if (const auto prompts = arguments.prompts.encode(format); arguments.prompts.single()) {
    answer_one(*loaded.model, format, prompts.front(), arguments, report);
  } else {
    answer_all(*loaded.model, format, prompts, arguments, report);
  }
  if (!arguments.json && report.cost.prefill_tokens > 0) report.print(std::cerr);
  return 0;
}

}  // namespace

int main(int argc, char** argv) { return nibble::apps::run_main(generate, argc, argv); }
