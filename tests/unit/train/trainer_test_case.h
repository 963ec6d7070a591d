#pragma once

#include <nibble/core/error.h>
#include <nibble/io/file.h>
#include <nibble/train/recipe_parser.h>
#include <nibble/train/trainer.h>

#include <ATen/Parallel.h>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <filesystem>
#include <sstream>
#include <string>
#include <vector>

#include "support/temp_dir.h"
#include "support/tiny_model.h"

namespace nibble::train {

/// Trains the tiny model in a folder of its own. 24 rows in batches of 4 make an epoch of 6 steps.
class TrainerTestCase : public ::testing::Test {
 protected:
  using Overrides = std::vector<std::string>;
  static constexpr int64_t kRows = 24;

  TrainerTestCase() {
    at::set_num_threads(1);  // the matrices are tiny
    testing::write_tiny_model(model_path());
    testing::write_tiny_rows(folder_ / "rows.jsonl", kRows);
    testing::write_tiny_rows(folder_ / "validation.jsonl", 6, kRows);
  }

  std::filesystem::path path(const std::string& name) const { return folder_ / name; }
  std::filesystem::path model_path() const { return path("model"); }

  /// The recipe that all tests vary; line 11 sets the group size. `run` names the output folder.
  Recipe recipe(const std::string& run, const Overrides& overrides = {}) const {
    const std::string yaml =
        "model:\n  pretrained_model_name_or_path: " + model_path().string() +
        "\ndataset:\n  path_or_dataset_id: " + path("rows.jsonl").string() +
        "\n  column_mapping: {question: [instruction, input], answer: output}\n"
        "step_scheduler: {global_batch_size: 4, max_steps: 6}\n"
        "optimizer: {lr: 3.0e-3}\n"
        "qat:\n"
        "  quantizer:\n"
        "    _target_: Int8DynActInt4WeightQATQuantizer\n"
        "    groupsize: 32\n"
        "checkpoint: {checkpoint_dir: " +
        path(run).string() + "}\n";
    Overrides on_the_cpu = {"--model.device=cpu"};  // bits are compared
    on_the_cpu.insert(on_the_cpu.end(), overrides.begin(), overrides.end());
    return parse_recipe(yaml, "recipe.yaml", on_the_cpu).recipe;
  }

  /// The overrides that add validation rows.
  Overrides with_validation(Overrides overrides) const {
    overrides.insert(
        overrides.end(),
        {"--validation_dataset.path_or_dataset_id=" + path("validation.jsonl").string(),
         "--validation_dataset.column_mapping={question: [instruction, input], "
         "answer: output}"});
    return overrides;
  }

  void train(const std::string& run, const Overrides& overrides = {}) const {
    Trainer trainer(recipe(run, overrides));
    ASSERT_EQ(trainer.run(), RunEnd::kFinished);
  }

  /// What the trainer says to a recipe that it refuses, while it is built or runs.
  std::string error_of(const std::string& run, const Overrides& overrides) const {
    try {
      Trainer(recipe(run, overrides)).run();
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  }

  std::vector<nlohmann::json> log(const std::string& run,
                                  const std::string& name = "training.jsonl") const {
    std::istringstream lines(io::read_text_file(path(run) / name));
    std::vector<nlohmann::json> records;
    for (std::string line; std::getline(lines, line);) {
      records.push_back(nlohmann::json::parse(line));
    }
    return records;
  }

  template <class Value>
  std::vector<Value> column(const std::string& run, const std::string& key,
                            const std::string& name = "training.jsonl") const {
    std::vector<Value> values;
    for (const auto& record : log(run, name)) values.push_back(record.at(key).get<Value>());
    return values;
  }

  std::string bytes(const std::string& name) const { return io::read_text_file(path(name)); }

 private:
  testing::TempDir folder_;
};

}  // namespace nibble::train
