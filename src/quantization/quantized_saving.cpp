#include <nibble/core/error.h>
#include <nibble/io/json.h>
#include <nibble/io/staged_directory.h>
#include <nibble/nn/parameters.h>
#include <nibble/nn/swap.h>
#include <nibble/quantization/int8_embedding.h>
#include <nibble/quantization/quantized_checkpoint.h>
#include <nibble/tensor_io/tensor_data.h>

#include <torch/torch.h>

#include <algorithm>
#include <unordered_map>

#include "layouts.h"

namespace nibble {
namespace {

using nlohmann::json;

struct Linears {
  std::unordered_map<std::string, const nn::LinearImpl*> quantized;  ///< by path
  std::vector<std::string> kept;
  std::optional<nn::QuantizationSpec> spec;
};

Linears sort_linears(torch::nn::Module& model) {
  Linears result;
  for (const nn::LinearSite& site : nn::find_linears(model)) {
    const auto* linear = dynamic_cast<const nn::LinearImpl*>(site.module.get());
    if (linear == nullptr || linear->state() != nn::LinearState::kQuantized) {
      result.kept.push_back(site.path);
      continue;
    }
    NIBBLE_CHECK(!result.spec.has_value() || *result.spec == *linear->spec(), site.path,
                 " is quantized as ", nn::to_string(*linear->spec()), ", others as ",
                 nn::to_string(*result.spec), "; a checkpoint holds one kind");
    result.spec = *linear->spec();
    result.quantized.emplace(site.path, linear);
  }
  NIBBLE_CHECK(result.spec.has_value(),
               "the model holds no quantized Linear; call convert() or quantize_() first");
  return result;
}

bool is_head(const std::string& path) { return path == "lm_head" || path.ends_with(".lm_head"); }

bool is_embedding(const std::string& name) { return name.ends_with("embed_tokens.weight"); }

}  // namespace

void save_quantized(const torch::nn::Module& model, const json& config,
                    const std::filesystem::path& directory, const io::Checkpoint* source,
                    const SaveQuantizedOptions& options) {
  torch::NoGradGuard no_grad;
  const Linears linears = sort_linears(const_cast<torch::nn::Module&>(model));
  const auto layout = layouts::for_spec(*linears.spec);
  std::vector<io::NamedTensor> tensors;
  for (const auto& [name, parameter] : nn::unique_named_parameters(model)) {
    if (options.embedding == EmbeddingStorage::kInt8 && is_embedding(name)) {
      for (io::NamedTensor& part : write_int8_embedding(name, parameter)) {
        tensors.push_back(std::move(part));
      }
    } else {
      tensors.push_back({name, tensor_io::to_tensor_data(parameter)});
    }
  }
  for (const auto& [path, linear] : linears.quantized) {
    for (io::NamedTensor& part : layout->write(path, *linear)) tensors.push_back(std::move(part));
  }
  json saved_config = config;
  // A quantized head shares no weight, whatever the plain model does.
  const bool own_head = std::any_of(linears.quantized.begin(), linears.quantized.end(),
                                    [](const auto& item) { return is_head(item.first); });
  if (own_head) saved_config["tie_word_embeddings"] = false;
  saved_config["quantization_config"] = layout->config(*linears.spec, linears.kept);

  const io::StagedDirectory staged(directory);
  io::write_safetensors(staged.path() / "model.safetensors", tensors);
  io::write_json_file(staged.path() / "config.json", saved_config);
  if (source != nullptr) io::copy_text_files(*source, staged.path());
  staged.publish();
}

}  // namespace nibble
