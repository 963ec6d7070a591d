#pragma once

#include <nibble/models/causal_lm.h>

#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <memory>
#include <string>

namespace nibble::benchmarks {

inline constexpr const char* kNoScheme = "none";

/// The model of a Hugging Face directory or GGUF file; with `random_weights` one of the shape that
/// a config.json (or the directory that holds it) describes.
std::shared_ptr<models::CausalLMImpl> load_benchmark_model(const std::string& path,
                                                           bool random_weights,
                                                           at::ScalarType dtype,
                                                           const at::Device& device);

}  // namespace nibble::benchmarks
