#include "benchmarks/bench_model.h"

#include <nibble/io/json.h>
#include <nibble/models/loading.h>
#include <nibble/models/registry.h>

#include <nlohmann/json.hpp>

#include <filesystem>

namespace nibble::benchmarks {

std::shared_ptr<models::CausalLMImpl> load_benchmark_model(const std::string& given,
                                                           bool random_weights,
                                                           at::ScalarType dtype,
                                                           const at::Device& device) {
  if (!random_weights) {
    return load_model_from_checkpoint(given, {.dtype = dtype, .device = device});
  }
  std::filesystem::path path = given;
  if (std::filesystem::is_directory(path)) path /= "config.json";
  constexpr double kDeviation = 0.02;
  return models::make_model(
      io::read_json_file(path), path.string(),
      models::random_parameters(kDeviation, /*seed=*/0, at::TensorOptions(dtype).device(device)));
}

}  // namespace nibble::benchmarks
