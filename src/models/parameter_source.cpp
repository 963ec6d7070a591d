#include <nibble/models/parameter_source.h>

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Functions.h>

namespace nibble::models {

ParameterSource meta_parameters() {
  return ParameterSource([](const std::string&, at::IntArrayRef shape) {
    return at::empty(shape, at::TensorOptions(at::kMeta));
  });
}

ParameterSource random_parameters(double stddev, uint64_t seed, const at::TensorOptions& options) {
  const at::Generator generator = at::detail::createCPUGenerator(seed);
  return ParameterSource([=](const std::string& name, at::IntArrayRef shape) {
    if (shape.size() > 1) return at::normal(0.0, stddev, shape, generator).to(options);
    return name.ends_with("bias") ? at::zeros(shape, options) : at::ones(shape, options);
  });
}

}  // namespace nibble::models
