#include <nibble/core/log.h>
#include <nibble/train/finish.h>
#include <nibble/train/recipe_parser.h>
#include <nibble/train/trainer.h>

#include <CLI/CLI.hpp>

#include <atomic>
#include <csignal>
#include <string>
#include <vector>

#include "run_main.h"

namespace {

std::atomic<bool> stop_requested{false};

void request_stop(int) { stop_requested = true; }

/// 128 + SIGTERM, what a shell reports for a terminated program: the run is saved, not finished.
constexpr int kPreemptedExitCode = 143;

int train(int argc, char** argv) {
  CLI::App app{"Supervised fine-tuning with quantization-aware training, from a YAML recipe."};
  std::string config;
  app.add_option("--config,-c", config, "the recipe (docs/recipe.md)")->required();
  app.allow_extras();
  app.footer("Any key of the recipe can be overridden: --optimizer.lr 1e-4 --qat.enabled=true");
  CLI11_PARSE(app, argc, argv);

  const auto [recipe, warnings] = nibble::train::load_recipe(config, app.remaining());
  for (const std::string& warning : warnings) nibble::log::warning(warning);

  nibble::train::Trainer trainer(recipe);
  // Before there is anything to save, and again after the last step, which saved, a signal ends the
  // program at once: whatever is written meanwhile is written under a temporary name.
  std::signal(SIGTERM, request_stop);
  if (trainer.run([] { return stop_requested.load(); }) == nibble::train::RunEnd::kPreempted) {
    nibble::log::warning(recipe.checkpoint.enabled
                             ? "stopped by SIGTERM; the same command goes on from here"
                             : "stopped by SIGTERM; nothing is saved (checkpoint.enabled: false)");
    return kPreemptedExitCode;
  }
  std::signal(SIGTERM, SIG_DFL);
  nibble::train::finish(trainer);
  return 0;
}

}  // namespace

int main(int argc, char** argv) { return nibble::apps::run_main(train, argc, argv); }
