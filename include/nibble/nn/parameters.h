#pragma once

#include <ATen/core/Tensor.h>
#include <torch/nn/module.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace nibble::nn {

/// All parameters in module order, each once, under its first name: a tied lm_head.weight is left
/// out, as in transformers (torch::nn::Module::parameters() lists it twice, and an optimizer would
/// step it twice).
std::vector<std::pair<std::string, at::Tensor>> unique_named_parameters(
    const torch::nn::Module& model);
/// Elements of all parameters, each once.
int64_t parameter_count(const torch::nn::Module& model);

}  // namespace nibble::nn
