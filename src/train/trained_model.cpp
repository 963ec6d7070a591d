#include <nibble/core/error.h>
#include <nibble/io/file.h>
#include <nibble/models/model_names_view.h>
#include <nibble/models/structure.h>
#include <nibble/quantization/quantized_checkpoint.h>
#include <nibble/train/recipe_parser.h>
#include <nibble/train/run_checkpoint.h>
#include <nibble/train/trained_model.h>
#include <nibble/train/trainer.h>

#include <nlohmann/json.hpp>

namespace nibble::train {
namespace {

namespace fs = std::filesystem;

constexpr const char* kRecipe = "config.yaml";
constexpr const char* kState = "state.json";

bool is_run_checkpoint(const fs::path& folder) {
  return io::path_exists(folder / kState) && io::path_exists(model_directory(folder));
}

/// The folder epoch_E_step_S that `path` means; empty where it means none.
fs::path run_checkpoint_of(const fs::path& path) {
  if (!io::path_exists(path) || !fs::is_directory(path)) return {};
  if (is_run_checkpoint(path)) return path;
  const fs::path parent = fs::weakly_canonical(path).parent_path();
  if (is_run_checkpoint(parent) && fs::equivalent(model_directory(parent), path)) return parent;
  const fs::path newest = path / "LATEST";
  return is_run_checkpoint(newest) ? newest : fs::path();
}

/// The same for every way to write the path of what exists; a name on the hub stays as it is.
std::string normal_path(const std::string& path) {
  return io::path_exists(path) ? fs::canonical(path).string() : path;
}

}  // namespace

std::optional<nn::QuantizationSpec> TrainedModel::spec() const {
  if (is_quantized) return quantization_of(*checkpoint);
  if (quantizer) return quantizer->spec();
  return std::nullopt;
}

TrainedModel open_trained_model(const fs::path& path) {
  TrainedModel model;
  const fs::path run = run_checkpoint_of(path);
  if (!run.empty()) {
    const Recipe recipe = load_recipe(run / kRecipe).recipe;
    model.checkpoint = io::open_checkpoint(model_directory(run));
    model.dtype = scalar_type(recipe.model.torch_dtype);
    if (recipe.qat.enabled) model.quantizer = make_quantizer(recipe.qat);
    const RunState state = read_run_state(run);
    model.training = {normal_path(recipe.model.pretrained_model_name_or_path), state.data_hash,
                      state.next_step};
    return model;
  }
  model.checkpoint = io::open_checkpoint(path);
  model.is_quantized = is_quantized_checkpoint(*model.checkpoint);
  model.checkpoint = model.is_quantized ? dequantized_view(std::move(model.checkpoint))
                                        : models::with_model_names(std::move(model.checkpoint));
  return model;
}

std::unique_ptr<ExportSource> export_source(const TrainedModel& model,
                                            const std::optional<SpecQATQuantizer>& ptq) {
  const std::string path = model.checkpoint->path().string();
  const std::optional<nn::QuantizationSpec> own = model.spec();
  NIBBLE_CHECK(own || ptq, path,
               " is a full-precision model: say how it is to be quantized (scheme, group size)");
  NIBBLE_CHECK(!own || !ptq, path, " is quantized as ", own ? nn::to_string(*own) : "",
               " already; it cannot be quantized otherwise");
  if (model.is_quantized) return stored_source(*model.checkpoint);
  const auto structure = models::load_structure(*model.checkpoint);
  return quantizing_source(*model.checkpoint, *structure, ptq ? *ptq : *model.quantizer,
                           model.dtype);
}

}  // namespace nibble::train
