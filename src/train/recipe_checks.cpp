#include "recipe_checks.h"

#include <nibble/core/error.h>

#include <algorithm>

#include "recipe_keys.h"

namespace nibble::train {
namespace {

constexpr const char* kDelay = "qat.delay_fake_quant_steps";
constexpr const char* kActivationDelay = "qat.delay_activation_fake_quant_steps";
constexpr const char* kWeightDelay = "qat.delay_weight_fake_quant_steps";

void check_model(const Recipe& recipe) {
  const char* path = "model.pretrained_model_name_or_path";
  NIBBLE_CHECK(!recipe.model.pretrained_model_name_or_path.empty(), recipe.describe_key(path),
               " is missing: name a Hugging Face directory or a GGUF file, for example\n"
               "  model:\n    pretrained_model_name_or_path: models/SmolLM2-135M");
}

void check_steps(const Recipe& recipe) {
  const StepSchedulerRecipe& steps = recipe.step_scheduler;
  NIBBLE_CHECK(steps.global_batch_size % steps.local_batch_size == 0,
               recipe.describe_key("step_scheduler.global_batch_size"), " is ",
               steps.global_batch_size, ", not a multiple of step_scheduler.local_batch_size (",
               steps.local_batch_size, ")");
}

void check_column_mapping(const Recipe& recipe, const std::string& section,
                          const DatasetRecipe& data) {
  const ColumnMapping& columns = data.column_mapping;
  const bool given = columns.context || !columns.question.empty() || !columns.answer.empty();
  const std::string path = recipe.describe_key(section + ".column_mapping");
  if (data.kind != DatasetKind::kColumnMapped) {
    NIBBLE_CHECK(!given, path, ": only ColumnMappedTextInstructionDataset maps columns; remove it");
    return;
  }
  const bool complete = !columns.answer.empty() && (columns.context || !columns.question.empty());
  NIBBLE_CHECK(complete, path, " needs `answer` and `question` or `context`, for example\n  ",
               section, ":\n    column_mapping: {question: [instruction, input], answer: output}");
}

void check_dataset(const Recipe& recipe, const std::string& section, const DatasetRecipe& data) {
  const std::string path = section + ".path_or_dataset_id";
  const bool named =
      !data.path_or_dataset_id.empty() &&
      std::count(data.path_or_dataset_id.begin(), data.path_or_dataset_id.end(), "") == 0;
  NIBBLE_CHECK(named, recipe.describe_key(path),
               " is missing: there is no default for the rows; name a JSON or JSONL file, for "
               "example\n  ",
               section,
               ":\n    _target_: ColumnMappedTextInstructionDataset\n    path_or_dataset_id: "
               "rows.jsonl\n    column_mapping: {question: instruction, answer: output}");
  check_column_mapping(recipe, section, data);
  NIBBLE_CHECK(data.kind != DatasetKind::kChat || data.use_hf_chat_template,
               recipe.describe_key(section + ".use_hf_chat_template"),
               ": ChatDataset needs the chat template");
}

void check_lr_schedule(const Recipe& recipe) {
  if (!recipe.lr_scheduler) {
    return;
  }
  const LrSchedulerRecipe& schedule = *recipe.lr_scheduler;
  const double max_lr = schedule.max_lr.value_or(recipe.optimizer.lr);
  NIBBLE_CHECK(schedule.init_lr.value_or(0) <= max_lr, recipe.describe_key("lr_scheduler.init_lr"),
               " is above the learning rate ", max_lr);
  NIBBLE_CHECK(schedule.min_lr.value_or(0) <= max_lr, recipe.describe_key("lr_scheduler.min_lr"),
               " is above the learning rate ", max_lr);
  const bool warms_up_in_time = !schedule.lr_warmup_steps || !schedule.lr_decay_steps ||
                                *schedule.lr_warmup_steps < *schedule.lr_decay_steps;
  NIBBLE_CHECK(warms_up_in_time, recipe.describe_key("lr_scheduler.lr_warmup_steps"),
               " must be below lr_scheduler.lr_decay_steps (", schedule.lr_decay_steps.value_or(0),
               ")");
  const bool is_wsd = schedule.lr_decay_style == LrDecayStyle::kWsd;
  NIBBLE_CHECK(is_wsd == schedule.wsd_decay_steps.has_value(),
               recipe.describe_key("lr_scheduler.wsd_decay_steps"),
               is_wsd ? " is missing: lr_decay_style WSD needs it"
                      : " belongs to lr_decay_style WSD only; remove it");
}

void check_quantizer(const Recipe& recipe) {
  const QuantizerRecipe& quantizer = recipe.qat.quantizer;
  const bool asymmetric = quantizer.grid == QatGrid::kAsymmetric;
  NIBBLE_CHECK(!asymmetric || quantizer.scheme == QatScheme::k4w,
               recipe.describe_key("qat.quantizer.grid"),
               ": Int8DynActInt4WeightQATQuantizer has the symmetric grid only, got 'asymmetric'");
  NIBBLE_CHECK(!asymmetric || quantizer.scales_precision == Dtype::kBFloat16,
               recipe.describe_key("qat.quantizer.scales_precision"),
               ": the asymmetric grid of Int4WeightOnlyQATQuantizer has bfloat16 scales, got "
               "'float32' (grid: symmetric allows both)");
}

/// The delay that decides most: the one set for this part, or the common one.
std::string delay_key(const std::optional<int64_t>& own, const char* own_path) {
  return own ? own_path : kDelay;
}

/// `what` would be on from step `delay`.
void check_one_delay(const Recipe& recipe, const char* what, int64_t delay, const std::string& path,
                     int64_t total_steps) {
  NIBBLE_CHECK(delay < total_steps, recipe.describe_key(path), " is ", delay,
               ", but the run has only ", total_steps, " steps: ", what,
               " would never be on. Choose a shorter delay or set "
               "qat.allow_delay_beyond_training: true");
}

void check_evaluation(const Recipe& recipe) {
  NIBBLE_CHECK(!recipe.evaluate.enabled || recipe.validation_datasets.count("default") > 0,
               recipe.describe_key("evaluate.enabled"),
               ": the comparison needs rows: add a validation_dataset");
}

std::vector<std::string> warnings_about(const Recipe& recipe) {
  std::vector<std::string> warnings;
  if (recipe.step_scheduler.val_every_steps && recipe.validation_datasets.empty()) {
    warnings.push_back(recipe.describe_key("step_scheduler.val_every_steps") +
                       " has no effect: there is no validation_dataset");
  }
  const std::vector<std::string>& kept = recipe.qat.modules_to_not_convert;
  if (recipe.qat.enabled && recipe.qat.tied_embedding != TiedEmbedding::kKeep &&
      std::find(kept.begin(), kept.end(), "lm_head") != kept.end()) {
    warnings.push_back(recipe.describe_key("qat.tied_embedding") +
                       " has no effect: lm_head is in qat.modules_to_not_convert");
  }
  const auto warn = [&](const char* path, int64_t delay) {
    if (delay > 0 && !recipe.qat.enabled) {
      warnings.push_back(recipe.describe_key(path) +
                         " has no effect: QAT is off (set qat.enabled: true to turn it on)");
    }
  };
  warn(kDelay, recipe.qat.delay_fake_quant_steps);
  warn(kActivationDelay, recipe.qat.delay_activation_fake_quant_steps.value_or(0));
  warn(kWeightDelay, recipe.qat.delay_weight_fake_quant_steps.value_or(0));
  return warnings;
}

}  // namespace

void resolve_defaults(Recipe& recipe) {
  StepSchedulerRecipe& steps = recipe.step_scheduler;
  const auto given = [&](const char* path) { return recipe.sources.count(path) > 0; };
  if (!given("step_scheduler.global_batch_size") && given("step_scheduler.local_batch_size")) {
    steps.global_batch_size = steps.local_batch_size;
  }
  if (!steps.num_epochs && !steps.max_steps) {
    steps.num_epochs = 1;
  }
}

std::vector<std::string> check_recipe(const Recipe& recipe) {
  check_model(recipe);
  check_dataset(recipe, "dataset", recipe.dataset);
  for (const auto& [name, data] : recipe.validation_datasets) {
    check_dataset(recipe, validation_dataset_section(name), data);
  }
  check_steps(recipe);
  check_lr_schedule(recipe);
  check_quantizer(recipe);
  check_evaluation(recipe);
  if (recipe.step_scheduler.max_steps) {
    check_delay(recipe, *recipe.step_scheduler.max_steps);
  }
  return warnings_about(recipe);
}

void check_delay(const Recipe& recipe, int64_t total_steps) {
  const QatRecipe& qat = recipe.qat;
  if (!qat.enabled || qat.allow_delay_beyond_training) {
    return;
  }
  if (qat.quantizer.scheme == QatScheme::k4w) {
    check_one_delay(recipe, "fake quantization", qat.weight_delay(),
                    delay_key(qat.delay_weight_fake_quant_steps, kWeightDelay), total_steps);
    return;
  }
  const bool neither = std::min(qat.weight_delay(), qat.activation_delay()) >= total_steps;
  check_one_delay(recipe, neither ? "fake quantization" : "fake quantization of the weights",
                  qat.weight_delay(), delay_key(qat.delay_weight_fake_quant_steps, kWeightDelay),
                  total_steps);
  check_one_delay(recipe, "fake quantization of the activations", qat.activation_delay(),
                  delay_key(qat.delay_activation_fake_quant_steps, kActivationDelay), total_steps);
}

}  // namespace nibble::train
