#include <nibble/core/error.h>
#include <nibble/core/log.h>
#include <nibble/eval/scoring.h>
#include <nibble/eval/teacher_forcing.h>
#include <nibble/io/file.h>
#include <nibble/io/json.h>
#include <nibble/models/generation.h>
#include <nibble/models/loading.h>
#include <nibble/quantization/quantize.h>
#include <nibble/quantization/quantized_checkpoint.h>
#include <nibble/train/finish.h>
#include <nibble/train/layer_sizes.h>

#include <torch/torch.h>

#include <nlohmann/json.hpp>

#include <filesystem>
#include <span>

namespace nibble::train {
namespace {

namespace fs = std::filesystem;

fs::path in_checkpoint_dir(const Recipe& recipe, const std::optional<std::string>& path,
                           const char* name) {
  return path.has_value() ? fs::path(*path) : fs::path(recipe.checkpoint.checkpoint_dir) / name;
}

eval::ModelResult score(models::CausalLMImpl& model, std::span<const data::Row> rows) {
  const eval::TeacherForcing result = eval::evaluate_rows(model, rows);
  return {result.loss, result.exact_match};
}

std::span<const data::Row> evaluation_rows(const Trainer& trainer) {
  const auto found = trainer.validation_data().find("default");
  NIBBLE_CHECK(found != trainer.validation_data().end(),
               "evaluate needs rows: set validation_dataset");
  const std::span<const data::Row> rows(found->second.rows);
  const auto limit = trainer.recipe().evaluate.max_rows;
  return limit.has_value() ? rows.first(std::min(rows.size(), static_cast<size_t>(*limit))) : rows;
}

/// Full precision and PTQ of the baseline, then the trained model, which is converted already.
eval::RecoveryReport compare(Trainer& trainer) {
  const Recipe& recipe = trainer.recipe();
  const auto rows = evaluation_rows(trainer);
  const LoadOptions options{.dtype = scalar_type(recipe.model.torch_dtype),
                            .device = eval::device_of(trainer.model())};
  eval::RecoveryReport report;
  const auto baseline = load_model_from_checkpoint(
      recipe.evaluate.baseline_model.value_or(recipe.model.pretrained_model_name_or_path), options);
  report.full_precision = score(*baseline, rows);
  const SpecQATQuantizer quantizer = make_quantizer(recipe.qat);
  quantize_(*baseline, {quantizer.spec(), quantizer.options()});
  report.ptq = score(*baseline, rows);
  report.qat = score(trainer.model(), rows);
  report.layers = quantized_layer_sizes(trainer.model(), options.dtype);
  return report;
}

void convert(Trainer& trainer) {
  const Recipe& recipe = trainer.recipe();
  const auto& convert = recipe.convert;
  const SaveQuantizedOptions options{.embedding = convert.embedding == EmbeddingPrecision::kInt8
                                                      ? EmbeddingStorage::kInt8
                                                      : EmbeddingStorage::kUnchanged};
  const fs::path directory = in_checkpoint_dir(recipe, convert.output_dir, "quantized");
  // The default folder is the run's own: one that an earlier end of this run wrote is replaced.
  if (!convert.output_dir.has_value()) fs::remove_all(directory);
  save_quantized(trainer.model(), trainer.model().config_json(), directory, &trainer.source(),
                 options);
  log::info("wrote the quantized model to " + directory.string());
}

void generate(Trainer& trainer) {
  const GenerateRecipe& recipe = trainer.recipe().generate;
  const data::TextFormat& format = trainer.text_format();
  for (const std::string& prompt : recipe.prompts) {
    models::GenerationOptions options;
    options.max_new_tokens = recipe.max_new_tokens;
    options.temperature = recipe.temperature;
    const models::Generation answer = models::generate(
        trainer.model(), data::encode_prompt(format, data::to_conversation(prompt)), options);
    log::info(prompt + "\n  -> " +
              format.tokenizer.decode(answer.tokens, /*skip_special_tokens=*/true));
  }
}

}  // namespace

std::optional<eval::RecoveryReport> finish(Trainer& trainer) {
  const Recipe& recipe = trainer.recipe();
  const bool compares = recipe.evaluate.enabled;
  NIBBLE_CHECK(recipe.qat.enabled || !(recipe.convert.enabled || compares),
               "convert and evaluate need a quantization scheme: set qat.enabled");
  std::optional<eval::RecoveryReport> report;
  if (recipe.convert.enabled || compares) {
    make_quantizer(recipe.qat).convert(trainer.model());
    if (recipe.convert.enabled) convert(trainer);
    if (compares) {
      report = compare(trainer);
      log::info("\n" + eval::to_text(*report));
      io::write_json_file(in_checkpoint_dir(recipe, recipe.evaluate.output, "evaluation.json"),
                          eval::to_json(*report));
    }
  }
  generate(trainer);
  return report;
}

}  // namespace nibble::train
