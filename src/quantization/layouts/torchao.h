#pragma once

#include <nlohmann/json.hpp>

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "layout.h"

/// What TorchAO's two layouts share: names "<path>._weight_<part>", and files whose `__metadata__`
/// describes every tensor. Source: torchao 0.18, prototype/safetensors.
namespace nibble::layouts {

/// {"_type": type, "_data": data}.
nlohmann::json tagged(const char* type, nlohmann::json data);
/// The whole quantization_config around the config of the default module.
nlohmann::json torchao_config(nlohmann::json default_config, const std::vector<std::string>& kept);
/// The `__metadata__`: `quantized` describes the tensor subclass of a Linear's weight.
std::map<std::string, std::string> torchao_metadata(
    const std::vector<io::TensorGroup>& groups, const std::string& marker,
    const std::function<nlohmann::json(const io::TensorGroup&)>& quantized);

}  // namespace nibble::layouts
