#include "compared_models.h"

#include <nibble/core/error.h>
#include <nibble/io/file.h>
#include <nibble/quantization/quantize.h>
#include <nibble/train/trained_model.h>

#include <algorithm>
#include <filesystem>
#include <span>
#include <sstream>

#include "quantization_flags.h"

namespace nibble::apps {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> split(const std::string& text, char separator) {
  std::istringstream stream(text);
  std::vector<std::string> parts;
  for (std::string part; std::getline(stream, part, separator);) parts.push_back(part);
  return parts;
}

/// What "8da4w:32:symmetric:bfloat16" asks for; nothing where `what` begins with no scheme.
std::optional<QuantizeConfig> post_training_config(const std::string& what) {
  const std::vector<std::string> parts = split(what, ':');
  if (io::path_exists(what) || parts.empty() || (parts[0] != "8da4w" && parts[0] != "4w")) {
    return std::nullopt;
  }
  QuantizationFlags flags;
  flags.scheme = parts[0];
  for (const std::string& part : std::span(parts).subspan(1)) {
    int64_t number = 0;
    if (CLI::detail::lexical_cast(part, number)) {
      flags.group_size = number;
    } else if (part == "symmetric" || part == "asymmetric") {
      flags.grid = part;
    } else if (part == "float32" || part == "bfloat16") {
      flags.scale_dtype = part;
    } else {
      fail(what, ": \"", part, "\" is no group size, no grid (symmetric, asymmetric) and no scale ",
           "dtype (float32, bfloat16)");
    }
  }
  return flags.post_training_config();
}

/// Of the files that hold weights; a tokenizer is not counted.
int64_t weight_file_bytes(const fs::path& path) {
  if (!fs::is_directory(path)) return static_cast<int64_t>(fs::file_size(path));
  int64_t bytes = 0;
  for (const auto& entry : fs::directory_iterator(path)) {
    if (entry.path().extension() == ".safetensors") {
      bytes += static_cast<int64_t>(fs::file_size(entry.path()));
    }
  }
  return bytes;
}

/// Quantizes in the dtype that the weights were trained in, else float32: what they are rounded to
/// for computing must not change an integer.
eval::LoadedModel load(const std::string& path, const std::optional<QuantizeConfig>& post_training,
                       const LoadOptions& compute) {
  train::TrainedModel trained = train::open_trained_model(path);
  std::optional<QuantizeConfig> config = post_training;
  if (trained.quantizer) {
    config = QuantizeConfig{trained.quantizer->spec(), trained.quantizer->options()};
  }
  if (!config) {
    auto model = eval::load_for_inference(*trained.checkpoint, compute);
    return {std::move(trained.checkpoint), std::move(model)};
  }
  auto model = models::load_model(*trained.checkpoint, {.dtype = trained.dtype});
  quantize_(*model, *config);
  model->to(compute.dtype);
  model->to(compute.device);
  return {std::move(trained.checkpoint), std::move(model)};
}

eval::ModelOrigin origin_of(const train::TrainedModel& model) {
  if (!model.training) return {};
  const train::TrainingRecord& training = *model.training;
  return {training.base, training.data_hash, std::to_string(training.steps),
          model.dtype == at::kFloat ? "float32" : "bfloat16"};
}

/// A label that begins with "ptq" says of a converted model, which records nothing of its training,
/// that it was quantized after it.
bool says_post_training(const std::string& name) { return name.starts_with("ptq"); }

eval::ComparedModel stored_model(const std::string& name, const std::string& path,
                                 const LoadOptions& compute) {
  const train::TrainedModel trained = train::open_trained_model(path);
  eval::ComparedModel model{.name = name, .path = path};
  model.origin = origin_of(trained);
  model.spec = trained.spec();
  model.post_training = trained.is_quantized && says_post_training(name);
  if (!trained.quantizer) model.disk_bytes = weight_file_bytes(trained.checkpoint->path());
  model.load = [path, compute] { return load(path, std::nullopt, compute); };
  return model;
}

eval::ComparedModel post_training_model(const std::string& name,
                                        const eval::ComparedModel& reference,
                                        const QuantizeConfig& config, const LoadOptions& compute) {
  NIBBLE_CHECK(!reference.spec, name, " would quantize ", reference.path,
               ", which is quantized already");
  eval::ComparedModel model{.name = name, .path = reference.path, .origin = reference.origin};
  model.spec = config.spec;
  model.post_training = true;
  model.load = [path = reference.path, config, compute] { return load(path, config, compute); };
  return model;
}

}  // namespace

std::vector<eval::ComparedModel> read_compared_models(std::vector<std::string> arguments,
                                                      const LoadOptions& compute) {
  std::stable_partition(arguments.begin(), arguments.end(),
                        [](const std::string& argument) { return argument.starts_with("fp="); });
  std::vector<eval::ComparedModel> models;
  for (const std::string& argument : arguments) {
    const size_t equals = argument.find('=');
    NIBBLE_CHECK(equals != std::string::npos && equals > 0 && equals + 1 < argument.size(),
                 "--compare takes NAME=MODEL, got ", argument);
    const std::string name = argument.substr(0, equals), what = argument.substr(equals + 1);
    NIBBLE_CHECK(std::none_of(models.begin(), models.end(),
                              [&](const auto& model) { return model.name == name; }),
                 "--compare has two models named ", name);
    if (const auto config = post_training_config(what)) {
      NIBBLE_CHECK(!models.empty(), argument,
                   " quantizes the reference of --compare, and cannot be it");
      models.push_back(post_training_model(name, models.front(), *config, compute));
    } else {
      models.push_back(stored_model(name, what, compute));
    }
  }
  return models;
}

}  // namespace nibble::apps
