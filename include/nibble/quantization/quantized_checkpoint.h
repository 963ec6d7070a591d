#pragma once

#include <nibble/io/checkpoint.h>
#include <nibble/nn/quantization_spec.h>

#include <torch/nn/module.h>

#include <nlohmann/json_fwd.hpp>

#include <filesystem>
#include <memory>
#include <set>
#include <string>

namespace nibble {

/// How save_quantized() stores the embedding and an unquantized lm_head; everything else that is no
/// quantized Linear keeps its dtype.
enum class EmbeddingStorage {
  kUnchanged,  ///< in its dtype; what is int8 already stays int8
  kInt8,       ///< int8 (int8_embedding.h): a quarter to half of the bytes
};

struct SaveQuantizedOptions {
  EmbeddingStorage embedding = EmbeddingStorage::kUnchanged;
};

/// Writes a converted model as a Hugging Face directory: config.json with a quantization_config,
/// model.safetensors, and the text files of `source` (may be null). The integers and scales are the
/// model's own, bit for bit. Symmetric grids go out as compressed-tensors "pack-quantized" (which
/// transformers and vLLM read); the asymmetric 4w grid, whose zero points are floats that format
/// cannot hold, as quant_method "nibble" (docs/formats.md). `config` is the plain model's
/// config.json. Atomic; throws Error when `directory` exists and is not empty, when no Linear is
/// quantized, or when two Linears are quantized differently.
void save_quantized(const torch::nn::Module& model, const nlohmann::json& config,
                    const std::filesystem::path& directory, const io::Checkpoint* source,
                    const SaveQuantizedOptions& options = {});

/// Whether a checkpoint holds what save_quantized() writes.
bool is_quantized_checkpoint(const io::Checkpoint& checkpoint);

/// A quantized checkpoint seen as the plain one: the tensor names of the full-precision model, the
/// quantized weights dequantized to float32. A model is loaded from this view and then switched by
/// restore_quantization().
std::unique_ptr<io::Checkpoint> dequantized_view(std::unique_ptr<io::Checkpoint> checkpoint);

bool is_dequantized_view(const io::Checkpoint& checkpoint);

/// The names of the weights that restore_quantization() replaces: a model that is going to be
/// switched need not have them in memory.
std::set<std::string> quantized_weights(const io::Checkpoint& view);

/// Switches the Linears of `model`, loaded through `view`, to the stored codes and scales, on
/// `device`. They compute in the dtype that their weights have now. Throws Error when the model
/// lacks one of them.
void restore_quantization(torch::nn::Module& model, const io::Checkpoint& view,
                          const at::Device& device = at::kCPU);

}  // namespace nibble
