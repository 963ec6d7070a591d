#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <string>
#include <utility>

namespace nibble::models {

/// Where the modules of a model get their parameters from while they are built: a checkpoint, a
/// random generator, nowhere (the meta device). So a model is never first initialized and then
/// overwritten, and no parameter exists twice.
class ParameterSource {
 public:
  /// Returns the parameter with the full Hugging Face name and the shape that the model needs.
  using Function = std::function<at::Tensor(const std::string& name, at::IntArrayRef shape)>;

  explicit ParameterSource(Function function) : function_(std::move(function)) {}

  /// The source for the child `name` of the current module.
  ParameterSource child(const std::string& name) const {
    ParameterSource source(function_);
    source.prefix_ = prefix_ + name + ".";
    return source;
  }
  at::Tensor operator()(const std::string& name, at::IntArrayRef shape) const {
    return function_(prefix_ + name, shape);
  }

 private:
  Function function_;
  std::string prefix_;
};

/// Shapes without memory.
ParameterSource meta_parameters();

/// Matrices from a normal distribution of deviation `stddev`, norm weights 1, biases 0. The values
/// are drawn on the CPU in float32, so they depend on `seed` only.
ParameterSource random_parameters(double stddev, uint64_t seed, const at::TensorOptions& options);

}  // namespace nibble::models
