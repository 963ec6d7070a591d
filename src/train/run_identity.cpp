#include "run_identity.h"

#include <nibble/core/error.h>
#include <nibble/data/fingerprint.h>
#include <nibble/nn/parameters.h>
#include <nibble/train/recipe_parser.h>
#include <nibble/train/trainer.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>
#include <vector>

namespace nibble::train {
namespace {

/// Bytes of a tensor that are hashed, in evenly spaced runs: a page each is all that is read of a
/// mapped file.
constexpr size_t kSamples = 16;
constexpr size_t kSampleBytes = 256;

void add_samples(data::Fingerprint& print, std::span<const std::byte> bytes) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (text.size() <= kSamples * kSampleBytes) return print.add(text);
  const size_t stride = (text.size() - kSampleBytes) / (kSamples - 1);
  for (size_t i = 0; i < kSamples; ++i) print.add(text.substr(i * stride, kSampleBytes));
}

std::string qat_identity(const QatRecipe& qat) {
  if (!qat.enabled) return "off";
  const std::string both =
      qat.tied_embedding == TiedEmbedding::kBoth ? ", tied embedding both" : "";
  return nn::to_string(make_quantizer(qat).spec()) + both;
}

std::string list_of(const std::vector<SettingChange>& changes) {
  std::string text;
  for (const SettingChange& change : changes) {
    text += (text.empty() ? "" : ", ") + change.path + ": " + change.before + " -> " + change.after;
  }
  return text;
}

/// Where results go and what is looked at, in contrast to what is trained. Base model and rows are
/// compared by their content.
bool is_beside_training(const std::string& path) {
  static constexpr std::array<std::string_view, 10> kBeside = {
      "checkpoint.",
      "convert.",
      "evaluate.",
      "generate.",
      "validation_dataset",
      "model.pretrained_model_name_or_path",
      "dataset.path_or_dataset_id",
      "step_scheduler.ckpt_every_steps",
      "step_scheduler.save_checkpoint_every_epoch",
      "step_scheduler.val_every_steps"};
  return std::any_of(kBeside.begin(), kBeside.end(),
                     [&](std::string_view start) { return path.starts_with(start); });
}

/// The length of a run; a schedule of the learning rate follows it.
bool is_length(const std::string& path) {
  return path == "step_scheduler.max_steps" || path == "step_scheduler.num_epochs";
}

}  // namespace

std::string model_fingerprint(const io::Checkpoint& model) {
  data::Fingerprint print;
  print.add(model.config().dump());
  std::vector<std::string> names = model.tensor_names();
  std::sort(names.begin(), names.end());
  for (const std::string& name : names) {
    const io::TensorData tensor = model.read(name);
    print.add(name);
    print.add(io::name_of(tensor.dtype));
    print.add(tensor.shape);
    add_samples(print, tensor.bytes);
  }
  return print.to_string();
}

nlohmann::json identity_of(const Recipe& recipe, const models::CausalLMImpl& model,
                           const std::string& base_model, const std::string& rows) {
  return {{"architectures", model.config_json().value("architectures", nlohmann::json::array())},
          {"parameters", nn::parameter_count(model)},
          {"torch_dtype", recipe.model.torch_dtype == Dtype::kFloat32 ? "float32" : "bfloat16"},
          {"optimizer", recipe.optimizer.kind == OptimizerKind::kAdamW ? "AdamW" : "Adam"},
          {"qat", qat_identity(recipe.qat)},
          {"base model's fingerprint", base_model},
          {"training rows' fingerprint", rows}};
}

void check_identity(const nlohmann::json& saved, const nlohmann::json& own,
                    const std::filesystem::path& checkpoint, const Recipe& before,
                    const Recipe& recipe) {
  for (const auto& item : own.items()) {
    const nlohmann::json value = saved.value(item.key(), nlohmann::json());
    if (value == item.value()) continue;
    const std::string changes = list_of(changed_settings(before, recipe));
    fail("checkpoint ", checkpoint.string(), " was written by another run: ", item.key(), " was ",
         value.dump(), " and is ", item.value().dump(),
         ". Set checkpoint.checkpoint_dir to another folder, or checkpoint.restore_from to a "
         "checkpoint of this run. Settings that changed: ",
         changes.empty() ? "none" : changes);
  }
}

std::string changed_hyper_parameters(const Recipe& before, const Recipe& after) {
  std::vector<SettingChange> changes = changed_settings(before, after);
  const bool follows_length = after.lr_scheduler.has_value();
  std::erase_if(changes, [&](const SettingChange& change) {
    return is_beside_training(change.path) || (is_length(change.path) && !follows_length);
  });
  return list_of(changes);
}

}  // namespace nibble::train
