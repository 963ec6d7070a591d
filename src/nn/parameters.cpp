#include <nibble/nn/parameters.h>

#include <unordered_set>

namespace nibble::nn {

std::vector<std::pair<std::string, at::Tensor>> unique_named_parameters(
    const torch::nn::Module& model) {
  std::vector<std::pair<std::string, at::Tensor>> unique;
  std::unordered_set<const void*> seen;
  for (const auto& parameter : model.named_parameters()) {
    if (parameter.value().defined() &&
        seen.insert(parameter.value().unsafeGetTensorImpl()).second) {
      unique.emplace_back(parameter.key(), parameter.value());
    }
  }
  return unique;
}

int64_t parameter_count(const torch::nn::Module& model) {
  int64_t count = 0;
  for (const auto& [name, parameter] : unique_named_parameters(model)) count += parameter.numel();
  return count;
}

}  // namespace nibble::nn
