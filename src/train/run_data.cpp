#include "run_data.h"

#include <nibble/train/trainer.h>

#include <algorithm>

#include "recipe_keys.h"
#include "start_checks.h"

namespace nibble::train {
namespace {

data::TextFormat read_format(const Recipe& recipe, const std::string& section,
                             const DatasetRecipe& dataset, const io::Checkpoint& model) {
  const std::string key =
      dataset.chat_template ? section + ".chat_template" : "model.pretrained_model_name_or_path";
  return about(recipe, key, [&] { return data::read_text_format(model, dataset.chat_template); });
}

/// The key that maps `column`, else the one that names the file.
std::string key_of_column(const std::string& section, const ColumnMapping& mapping,
                          const std::string& column) {
  const auto& question = mapping.question;
  if (mapping.answer == column) return section + ".column_mapping.answer";
  if (mapping.context == column) return section + ".column_mapping.context";
  if (std::find(question.begin(), question.end(), column) != question.end()) {
    return section + ".column_mapping.question";
  }
  return section + ".path_or_dataset_id";
}

data::SftDataset read_rows(const Recipe& recipe, const std::string& section,
                           const DatasetRecipe& dataset, const data::TextFormat& format,
                           const models::ModelConfig& config) {
  try {
    return load_dataset(dataset, format, config);
  } catch (const data::MissingColumn& error) {
    fail(recipe.describe_key(key_of_column(section, dataset.column_mapping, error.name())), ": ",
         error.what());
  } catch (const Error& error) {
    fail(recipe.describe_key(section + ".path_or_dataset_id"), ": ", error.what());
  }
}

}  // namespace

RunData load_run_data(const Recipe& recipe, const io::Checkpoint& model,
                      const models::ModelConfig& config) {
  RunData run{read_format(recipe, "dataset", recipe.dataset, model), {}, {}};
  run.training = read_rows(recipe, "dataset", recipe.dataset, run.format, config);
  for (const auto& [name, dataset] : recipe.validation_datasets) {
    const std::string section = validation_dataset_section(name);
    const data::TextFormat format =
        dataset.chat_template ? read_format(recipe, section, dataset, model) : run.format;
    run.validation[name] = read_rows(recipe, section, dataset, format, config);
  }
  return run;
}

}  // namespace nibble::train
