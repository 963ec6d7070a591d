#include <nibble/eval/inspection.h>
#include <nibble/io/checkpoint.h>
#include <nibble/io/json.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <iostream>
#include <string>
#include <vector>

#include "checks.h"
#include "run_main.h"

namespace {

int inspect(int argc, char** argv) {
  std::string model, json;
  std::vector<int64_t> group_sizes = {32, 64, 128, 256};
  CLI::App app{"Says what a model is and what quantization would make of it; reads no weights."};
  app.add_option("MODEL", model, "Hugging Face directory, GGUF file, or name on the hub")
      ->required();
  app.add_option("--group-sizes", group_sizes, "comma-separated, default 32,64,128,256")
      ->delimiter(',')
      ->check(nibble::apps::positive_integer());
  app.add_option("--json", json, "the same as JSON, with every Linear");
  CLI11_PARSE(app, argc, argv);
  if (!json.empty()) nibble::apps::check_can_write("--json", json);

  const auto checkpoint = nibble::io::open_checkpoint(model);
  const auto inspection = nibble::eval::inspect_model(*checkpoint, group_sizes);
  std::cout << to_text(inspection);
  if (!json.empty()) nibble::io::write_json_file(json, to_json(inspection));
  return 0;
}

}  // namespace

int main(int argc, char** argv) { return nibble::apps::run_main(inspect, argc, argv); }
