#pragma once

#include <nibble/data/sft_dataset.h>
#include <nibble/io/checkpoint.h>
#include <nibble/models/config.h>
#include <nibble/train/recipe.h>

#include <map>
#include <string>

namespace nibble::train {

/// All text that a run reads, as its model wants it.
struct RunData {
  data::TextFormat format;
  data::SftDataset training;
  std::map<std::string, data::SftDataset> validation;
};

/// Reads it. Throws Error that starts with the place and path of the setting that it is about.
RunData load_run_data(const Recipe& recipe, const io::Checkpoint& model,
                      const models::ModelConfig& config);

}  // namespace nibble::train
