#include <nibble/core/error.h>
#include <nibble/io/json.h>
#include <nibble/io/safetensors.h>
#include <nibble/io/staged_directory.h>
#include <nibble/models/saving.h>
#include <nibble/nn/embedding.h>
#include <nibble/nn/linear.h>
#include <nibble/nn/parameters.h>
#include <nibble/tensor_io/dtypes.h>
#include <nibble/tensor_io/tensor_data.h>

#include <nlohmann/json.hpp>

#include <string>
#include <vector>

namespace nibble::models {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

void check_full_precision(const CausalLMImpl& model) {
  for (const auto& module : model.named_modules()) {
    const auto* linear = module.value()->as<nn::LinearImpl>();
    const auto* embedding = module.value()->as<nn::EmbeddingImpl>();
    NIBBLE_CHECK((!linear || linear->weight.defined()) && (!embedding || !embedding->is_int8()),
                 module.key(),
                 " is quantized; save_checkpoint() writes full-precision models, save_quantized() "
                 "quantized ones");
  }
}

json saved_config(const CausalLMImpl& model, at::ScalarType dtype) {
  json config = model.config_json();
  config[config.contains("torch_dtype") ? "torch_dtype" : "dtype"] = tensor_io::torch_name(dtype);
  config["tie_word_embeddings"] = model.has_tied_embeddings();
  return config;
}

}  // namespace

void save_checkpoint(const CausalLMImpl& model, const fs::path& path, const SaveOptions& options) {
  check_full_precision(model);
  const auto parameters = nn::unique_named_parameters(model);
  const at::ScalarType dtype = options.dtype.value_or(parameters.front().second.scalar_type());
  const json config = saved_config(model, dtype);
  std::vector<io::NamedTensor> tensors;
  for (const auto& [name, parameter] : parameters) {
    tensors.push_back({name, tensor_io::to_tensor_data(parameter.detach().to(dtype))});
  }
  const io::StagedDirectory staged(path);
  io::write_safetensors(staged.path() / "model.safetensors", tensors);
  io::write_json_file(staged.path() / "config.json", config);
  if (options.source) io::copy_text_files(*options.source, staged.path());
  staged.publish();
}

}  // namespace nibble::models
