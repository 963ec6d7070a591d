#include "torchao.h"

#include <algorithm>

namespace nibble::layouts {

using nlohmann::json;

json tagged(const char* type, json data) { return {{"_type", type}, {"_data", std::move(data)}}; }

json torchao_config(json default_config, const std::vector<std::string>& kept) {
  return {{"quant_method", "torchao"},
          {"quant_type", {{"default", std::move(default_config)}}},
          {"modules_to_not_convert", kept.empty() ? json(nullptr) : json(kept)},
          {"include_input_output_embeddings", false},
          {"untie_embedding_weights", false}};
}

std::map<std::string, std::string> torchao_metadata(
    const std::vector<io::TensorGroup>& groups, const std::string& marker,
    const std::function<json(const io::TensorGroup&)>& quantized) {
  std::map<std::string, std::string> metadata = {{"format", "pt"}};
  std::vector<std::string> names;
  for (const io::TensorGroup& group : groups) {
    names.push_back(group.name);
    const bool is_quantized = group.tensors.front().name.ends_with("." + marker);
    metadata[group.name] = (is_quantized ? quantized(group) : json{{"_type", "Tensor"}}).dump();
  }
  std::sort(names.begin(), names.end());  // whatever order the source has
  metadata["tensor_names"] = json(names).dump();
  return metadata;
}

}  // namespace nibble::layouts
