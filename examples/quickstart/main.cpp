// Fine-tunes a small model, with and without quantization-aware training, and shows what int4
// costs.

#include <nibble/core/allocator.h>
#include <nibble/core/error.h>
#include <nibble/io/file.h>

#include <CLI/CLI.hpp>

#include <iostream>

#include "html_report.h"
#include "pipeline.h"

int main(int argc, char** argv) try {
  nibble::keep_freed_memory();
  quickstart::Settings settings;
  bool smoke = false;
  CLI::App app{
      "Teaches a small language model to redact personal data, converts it to int4 and "
      "compares: full precision, quantized after training, trained for it (QAT)."};
  app.add_option("--model", settings.model, "Hugging Face directory or GGUF file")->required();
  app.add_option("--output", settings.output, "folder for everything it writes")->required();
  app.add_option("--seed", settings.seed, "of the rows");
  app.add_option("--warmup-steps", settings.warmup_steps);
  app.add_option("--branch-steps", settings.branch_steps);
  app.add_option("--delay-steps", settings.delay_steps);
  app.add_option("--held-out-rows", settings.held_out_rows);
  app.add_option("--lr", settings.lr);
  app.add_option("--group-size", settings.group_size);
  app.add_flag("--smoke", smoke, "a minute instead of ten: shows that it runs, not what it can do");
  CLI11_PARSE(app, argc, argv);
  if (smoke) {
    settings.warmup_steps = 3;
    settings.branch_steps = 3;
    settings.delay_steps = 1;
    settings.held_out_rows = 4;
    settings.shown_rows = 1;
  }
  std::filesystem::remove_all(settings.output);
  const quickstart::Outcome outcome = quickstart::run(settings);
  nibble::io::write_file_atomically(settings.output / "report.json",
                                    quickstart::to_json(outcome).dump(2) + "\n");
  nibble::io::write_file_atomically(settings.output / "report.html", quickstart::to_html(outcome));
  std::cout << "\n"
            << nibble::eval::to_text(outcome.report)
            << "\n\nreport: " << (settings.output / "report.html").string()
            << "\n\nthe int4 model is asked: " << outcome.question
            << "\nit answers: " << outcome.reply << std::endl;
  return 0;
} catch (const std::exception& error) {
  std::cerr << "quickstart: " << error.what() << std::endl;
  return 1;
}
