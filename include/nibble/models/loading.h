#pragma once

#include <nibble/io/checkpoint.h>
#include <nibble/models/causal_lm.h>

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <memory>
#include <set>
#include <string>

namespace nibble {

/// How a model is put into memory.
struct LoadOptions {
  at::ScalarType dtype = at::kFloat;  ///< float32, bfloat16 or float16, whatever the file has
  at::Device device = at::kCPU;
  /// An embedding and an output projection that the file keeps as int8 stay int8 (nn::Int8Weight),
  /// for inference; otherwise they become floating point numbers, which can be trained.
  bool keep_int8 = false;
  /// Parameters that are left without memory (on the meta device), for a caller who replaces them.
  std::set<std::string> without = {};
};

/// What "cpu", "cuda", "cuda:1" or "auto" means; the last is CUDA where LibTorch sees a device,
/// else the CPU. Throws Error for another name, and for a CUDA device that is not there.
at::Device device_from(const std::string& name);

/// Loads a model from a Hugging Face directory or a GGUF file, in training mode. Tensor by tensor:
/// at no time are there two copies of the weights. Throws Error that names the missing and surplus
/// tensors, a shape that is not the configuration's, a stored dtype that is not floating point.
std::shared_ptr<models::CausalLMImpl> load_model_from_checkpoint(const std::filesystem::path& path,
                                                                 const LoadOptions& options = {});

namespace models {

/// The same from an open checkpoint.
std::shared_ptr<CausalLMImpl> load_model(const io::Checkpoint& checkpoint,
                                         const LoadOptions& options = {});

}  // namespace models
}  // namespace nibble
