#include "recipe_keys.h"

#include <iterator>

namespace nibble::train {
namespace {

constexpr std::string_view kValidation = "validation_dataset";

Range at_least(double low) { return {.low = low}; }
Range above(double low) { return {.low = low, .excludes_low = true}; }
Range unit_interval() { return {.low = 0, .high = 1, .excludes_high = true}; }

template <class Enum>
Choice choice(Enum& member, std::initializer_list<std::pair<const char*, Enum>> names) {
  Choice result{{},
                [&member] { return static_cast<int>(member); },
                [&member](int value) { member = static_cast<Enum>(value); }};
  for (const auto& [name, value] : names) {
    result.names.emplace_back(name, static_cast<int>(value));
  }
  return result;
}

Choice dtype(Dtype& member) {
  return choice(member, {{"float32", Dtype::kFloat32},
                         {"bfloat16", Dtype::kBFloat16},
                         {"fp32", Dtype::kFloat32},
                         {"bf16", Dtype::kBFloat16}});
}

std::vector<Key> step_scheduler_keys(StepSchedulerRecipe& steps) {
  return {
      {"step_scheduler.global_batch_size", &steps.global_batch_size,
       "Rows per optimizer step, a multiple of `local_batch_size`. Default: 8, or "
       "`local_batch_size` where only that is given.",
       at_least(1)},
      {"step_scheduler.local_batch_size", &steps.local_batch_size, "Rows per micro-batch.",
       at_least(1)},
      {"step_scheduler.num_epochs", &steps.num_epochs,
       "Passes over the dataset. Default: 1, or as many as `max_steps` needs where only that is "
       "given. With both, the run ends at whichever comes first.",
       at_least(1)},
      {"step_scheduler.max_steps",
       &steps.max_steps,
       "Optimizer steps of the whole run.",
       at_least(1),
       {"trainer.max_steps"}},
      {"step_scheduler.ckpt_every_steps", &steps.ckpt_every_steps,
       "Saves a checkpoint every N steps; null: at epoch ends and at the end only.", at_least(1)},
      {"step_scheduler.save_checkpoint_every_epoch", &steps.save_checkpoint_every_epoch,
       "Saves a checkpoint at each epoch's end."},
      {"step_scheduler.val_every_steps",
       &steps.val_every_steps,
       "Validates every N steps; null: only with each checkpoint.",
       at_least(1),
       {"trainer.val_check_interval"}},
  };
}

std::vector<Key> model_keys(ModelRecipe& model) {
  return {
      {"model.pretrained_model_name_or_path",
       &model.pretrained_model_name_or_path,
       "A Hugging Face directory, a GGUF file, or the hub's name (owner/name, owner/name@revision) "
       "of a model in the local Hugging Face cache. Required.",
       {},
       {"model.model_name"}},
      {"model.torch_dtype",
       dtype(model.torch_dtype),
       "Of the weights and of the compute. bfloat16 weights round away most updates of a usual "
       "learning rate.",
       {},
       {"model.dtype"}},
      {"model.device", &model.device,
       "Where the model is trained: `cpu`, `cuda`, `cuda:N`, or `auto`: CUDA where there is a "
       "device, "
       "else the CPU."},
  };
}

std::vector<Key> quantizer_keys(QuantizerRecipe& quantizer) {
  return {
      {"qat.quantizer._target_",
       choice(quantizer.scheme, {{"Int8DynActInt4WeightQATQuantizer", QatScheme::k8da4w},
                                 {"Int4WeightOnlyQATQuantizer", QatScheme::k4w},
                                 {"int8_dynact_int4weight", QatScheme::k8da4w},
                                 {"int4_weight_only", QatScheme::k4w},
                                 {"8da4w", QatScheme::k8da4w},
                                 {"4w", QatScheme::k4w}}),
       "The scheme. A module prefix such as `torchao.quantization.qat.` is accepted.",
       {},
       {"qat.qat_config.quantizer_type"}},
      {"qat.quantizer.groupsize",
       &quantizer.groupsize,
       "Consecutive input features that share a scale; must divide in_features of every quantized "
       "layer. -1: all of them (per channel).",
       {.low = 1, .also = -1},
       {"qat.quantizer.group_size", "qat.qat_config.groupsize", "qat.qat_config.group_size"}},
      {"qat.quantizer.scales_precision",
       dtype(quantizer.scales_precision),
       "Dtype of the scales. Default: float32 for "
       "`torchao.quantization.qat.Int8DynActInt4WeightQATQuantizer`, as in TorchAO; bfloat16 "
       "otherwise.",
       {},
       {"qat.qat_config.scales_precision"}},
      {"qat.quantizer.grid",
       choice(quantizer.grid,
              {{"symmetric", QatGrid::kSymmetric}, {"asymmetric", QatGrid::kAsymmetric}}),
       "The int4 grid. 8da4w: symmetric only. 4w: asymmetric is TorchAO's and the default; "
       "symmetric exports to every format.",
       {},
       {"qat.qat_config.grid"}},
  };
}

std::vector<Key> qat_keys(QatRecipe& qat) {
  return {
      {"qat.enabled", &qat.enabled, "Trains with fake quantization."},
      {"qat.delay_fake_quant_steps",
       &qat.delay_fake_quant_steps,
       "Fake quantization is off in steps 0..N-1 and on from step N.",
       at_least(0),
       {"qat.fake_quant_after_n_steps"}},
      {"qat.delay_activation_fake_quant_steps", &qat.delay_activation_fake_quant_steps,
       "The delay of the activations; null: `delay_fake_quant_steps`.", at_least(0)},
      {"qat.delay_weight_fake_quant_steps", &qat.delay_weight_fake_quant_steps,
       "The delay of the weights; null: `delay_fake_quant_steps`.", at_least(0)},
      {"qat.allow_delay_beyond_training", &qat.allow_delay_beyond_training,
       "Accepts a delay that is not shorter than the run."},
      {"qat.modules_to_not_convert", &qat.modules_to_not_convert,
       "Linears, or modules that hold them, that stay in full precision: whole paths or last "
       "components."},
      {"qat.allow_unquantized_layers", &qat.allow_unquantized_layers,
       "Leaves layers that the group size does not divide in full precision instead of failing."},
      {"qat.tied_embedding",
       choice(qat.tied_embedding, {{"keep", TiedEmbedding::kKeep},
                                   {"untie", TiedEmbedding::kUntie},
                                   {"both", TiedEmbedding::kBoth}}),
       "What happens where a Linear to be quantized shares its weight with the embedding (a tied "
       "lm_head that is not in modules_to_not_convert): both stay in full precision, the Linear "
       "gets its own quantized copy, or both uses see the quantized weight."},
  };
}

std::vector<Key> dataset_keys(const std::string& section, DatasetRecipe& data) {
  const auto path = [&](const char* name) { return section + "." + name; };
  return {
      {path("_target_"),
       choice(data.kind,
              {{"ColumnMappedTextInstructionDataset", DatasetKind::kColumnMapped},
               {"ChatDataset", DatasetKind::kChat},
               {"make_squad_dataset", DatasetKind::kSquad},
               {"HellaSwag", DatasetKind::kHellaSwag},
               {"ColumnMappedTextInstructionIterableDataset", DatasetKind::kColumnMapped}}),
       "How rows become prompts and answers. A module prefix is accepted."},
      {path("path_or_dataset_id"),
       &data.path_or_dataset_id,
       "JSON or JSONL file, or a list of them. Required in `dataset`.",
       {},
       {path("dataset_name"), path("path_or_dataset")}},
      {path("split"), &data.split,
       "`train` or `train[:64]`; of a local file only the row range in brackets matters."},
      {path("name"), &data.name,
       "Configuration of a dataset that has several. No effect on local files."},
      {path("column_mapping.context"), &data.column_mapping.context,
       "Column of the system message; null: the template's default one."},
      {path("column_mapping.question"), &data.column_mapping.question,
       "Column or columns of the user's message; those that are not empty are joined."},
      {path("column_mapping.answer"), &data.column_mapping.answer, "Column of the answer."},
      {path("column_separator"), &data.column_separator, "Stands between joined columns."},
      {path("use_hf_chat_template"), &data.use_hf_chat_template,
       "Renders rows with the model's chat template where it has one; false: plain text. "
       "(Automodel's "
       "default is false.)"},
      {path("chat_template"), &data.chat_template,
       "Jinja source or file to use instead of the model's own template."},
      {path("answer_only_loss_mask"), &data.answer_only_loss_mask,
       "Trains on the answer's tokens only."},
      {path("mask_history"), &data.mask_history,
       "ChatDataset: trains on the last assistant turn only."},
      {path("seq_length"), &data.seq_length, "Longest row in tokens; null: the model's limit.",
       at_least(2)},
      {path("truncation"),
       choice(data.truncation, {{"false", false},
                                {"true", true},
                                {"do_not_truncate", false},
                                {"longest_first", true},
                                {"only_first", true}}),
       "Cuts longer rows; false (also `do_not_truncate`): they are an error."},
      {path("limit_dataset_samples"),
       &data.limit_dataset_samples,
       "Uses the first N rows only.",
       at_least(1),
       {path("num_samples_limit")}},
      {path("shuffle_seed"), &data.shuffle_seed,
       "Shuffles the rows once, before the limit; null: the file's order.", at_least(0)},
      {path("skip_invalid_samples"), &data.skip_invalid_samples,
       "Drops malformed rows (also lines that are no JSON) and rows without text or targets, with "
       "a "
       "count; false: they are an error."},
  };
}

std::vector<Key> optimizer_keys(OptimizerRecipe& optimizer) {
  return {
      {"optimizer._target_",
       choice(optimizer.kind, {{"AdamW", OptimizerKind::kAdamW},
                               {"Adam", OptimizerKind::kAdam},
                               {"adamw", OptimizerKind::kAdamW},
                               {"adam", OptimizerKind::kAdam}}),
       "A module prefix such as `torch.optim.` is accepted."},
      {"optimizer.lr", &optimizer.lr, "Learning rate.", at_least(0)},
      {"optimizer.betas", &optimizer.betas, "Decay of the two running averages.", unit_interval()},
      {"optimizer.eps", &optimizer.eps, "Added to the denominator.", above(0)},
      {"optimizer.weight_decay", &optimizer.weight_decay,
       "Default: 0.01 for AdamW, 0 for Adam, as in torch.", at_least(0)},
  };
}

std::vector<Key> lr_scheduler_keys(LrSchedulerRecipe& schedule) {
  return {
      {"lr_scheduler.lr_decay_style",
       choice(schedule.lr_decay_style, {{"constant", LrDecayStyle::kConstant},
                                        {"linear", LrDecayStyle::kLinear},
                                        {"cosine", LrDecayStyle::kCosine},
                                        {"inverse-square-root", LrDecayStyle::kInverseSquareRoot},
                                        {"WSD", LrDecayStyle::kWsd}}),
       "Shape after the warm-up. Without the section the learning rate is constant."},
      {"lr_scheduler.lr_warmup_steps", &schedule.lr_warmup_steps, "null: min(1000, steps / 10).",
       at_least(0)},
      {"lr_scheduler.lr_decay_steps", &schedule.lr_decay_steps,
       "Step at which `min_lr` is reached; null: the last one.", at_least(1)},
      {"lr_scheduler.init_lr", &schedule.init_lr, "At step 0; null: 0.1 * lr.", at_least(0)},
      {"lr_scheduler.max_lr", &schedule.max_lr, "After the warm-up; null: lr.", at_least(0)},
      {"lr_scheduler.min_lr", &schedule.min_lr, "At the end; null: 0.01 * lr.", at_least(0)},
      {"lr_scheduler.wsd_decay_steps", &schedule.wsd_decay_steps,
       "Length of the last phase of WSD, which needs it.", at_least(1)},
      {"lr_scheduler.lr_wsd_decay_style",
       choice(schedule.lr_wsd_decay_style,
              {{"linear", LrDecayStyle::kLinear}, {"cosine", LrDecayStyle::kCosine}}),
       "Shape of the last phase of WSD."},
  };
}

std::vector<Key> checkpoint_keys(CheckpointRecipe& checkpoint) {
  return {
      {"checkpoint.enabled", &checkpoint.enabled, "Saves checkpoints."},
      {"checkpoint.checkpoint_dir", &checkpoint.checkpoint_dir,
       "Folder of checkpoints, training.jsonl and validation.jsonl."},
      {"checkpoint.restore_from", &checkpoint.restore_from,
       "A folder in `checkpoint_dir`, a path, or `LATEST`: the one of the highest step. null: "
       "LATEST "
       "where there is one."},
      {"checkpoint.max_recent_checkpoints", &checkpoint.max_recent_checkpoints,
       "Keeps the last N; null: all.", at_least(1)},
  };
}

std::vector<Key> final_stage_keys(Recipe& recipe) {
  return {
      {"convert.enabled", &recipe.convert.enabled,
       "Writes the model with real int4 weights after the last step."},
      {"convert.output_dir", &recipe.convert.output_dir, "null: `checkpoint_dir`/quantized."},
      {"convert.embedding",
       choice(recipe.convert.embedding,
              {{"none", EmbeddingPrecision::kNone}, {"int8", EmbeddingPrecision::kInt8}}),
       "int8: the embedding is quantized too, which most of a small model's size needs."},
      {"evaluate.enabled", &recipe.evaluate.enabled,
       "Compares full precision, PTQ and QAT after the last step."},
      {"evaluate.baseline_model", &recipe.evaluate.baseline_model,
       "The baseline, for example a branch trained without QAT; null: the model that the run "
       "started from."},
      {"evaluate.max_rows", &recipe.evaluate.max_rows,
       "Evaluates the first N validation rows; null: all.", at_least(1)},
      {"evaluate.output", &recipe.evaluate.output,
       "JSON report; null: `checkpoint_dir`/evaluation.json."},
      {"generate.prompts", &recipe.generate.prompts, "Questions asked to the final model."},
      {"generate.max_new_tokens", &recipe.generate.max_new_tokens, "Longest answer.", at_least(1)},
      {"generate.temperature", &recipe.generate.temperature, "0: greedy.", at_least(0)},
  };
}

void append(std::vector<Key>& keys, std::vector<Key> more) {
  std::move(more.begin(), more.end(), std::back_inserter(keys));
}

}  // namespace

std::vector<Key> bind_keys(Recipe& recipe) {
  std::vector<Key> keys = {
      {"seed", &recipe.seed, "Of every random choice.", at_least(0), {"rng.seed"}}};
  append(keys, model_keys(recipe.model));
  append(keys, dataset_keys("dataset", recipe.dataset));
  append(keys, foreign_dataset_keys("dataset"));
  for (auto& [name, dataset] : recipe.validation_datasets) {
    const std::string section = validation_dataset_section(name);
    append(keys, dataset_keys(section, dataset));
    append(keys, foreign_dataset_keys(section));
  }
  append(keys, {{"dataloader.shuffle", &recipe.dataloader.shuffle,
                 "Draws a new order of rows each epoch."},
                {"dataloader.drop_last", &recipe.dataloader.drop_last,
                 "Drops an epoch's last, incomplete global batch."}});
  append(keys, step_scheduler_keys(recipe.step_scheduler));
  append(keys, optimizer_keys(recipe.optimizer));
  if (recipe.lr_scheduler) {
    append(keys, lr_scheduler_keys(*recipe.lr_scheduler));
  }
  append(keys, {{"clip_grad_norm.max_norm", &recipe.max_grad_norm,
                 "Longest gradient norm; null: no clipping.", above(0)}});
  append(keys, qat_keys(recipe.qat));
  append(keys, quantizer_keys(recipe.qat.quantizer));
  append(keys, checkpoint_keys(recipe.checkpoint));
  append(keys, final_stage_keys(recipe));
  append(keys, foreign_keys());
  return keys;
}

bool is_validation_dataset(std::string_view section) {
  return section == kValidation ||
         (section.starts_with(kValidation) && section.size() > kValidation.size() + 1 &&
          section[kValidation.size()] == '_');
}

std::string validation_dataset_name(std::string_view section) {
  return section == kValidation ? "default" : std::string(section.substr(kValidation.size() + 1));
}

std::string validation_dataset_section(const std::string& name) {
  return std::string(kValidation) + (name == "default" ? "" : "_" + name);
}

}  // namespace nibble::train
