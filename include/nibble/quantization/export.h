#pragma once

#include <nibble/quantization/export_source.h>
#include <nibble/quantization/quantized_checkpoint.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace nibble {

/// The formats in which other programs take a quantized model (docs/formats.md).
enum class ExportFormat {
  kCompressedTensors,  ///< transformers, vLLM: 4w as pack-quantized, 8da4w as int-quantized
  kTorchAO,            ///< transformers with torchao: IntxUnpackedToInt8Tensor; the asymmetric grid
                       ///< as Int4TilePackedTo4dTensor
  kGguf,               ///< llama.cpp: Q4_0
  kHuggingFace,        ///< dequantized, rounded to bfloat16: anything
};

/// "compressed-tensors", "torchao", "gguf", "hf". Throws Error for any other name.
ExportFormat export_format_from_string(std::string_view name);

struct ExportOptions {
  /// Writes scales that the format cannot hold exactly rounded to what it holds, instead of
  /// throwing.
  bool allow_inexact = false;
  /// How the embedding and an unquantized lm_head are stored. Empty: int8 where the format has it
  /// (GGUF's Q8_0), else as floating point numbers, which every reader takes. Integers that the
  /// source has are copied.
  std::optional<EmbeddingStorage> embedding = {};
  /// kCompressedTensors: 8da4w as pack-quantized too, half the bytes, which transformers reads and
  /// vLLM does not.
  bool pack_8da4w = false;
  /// Hugging Face directories: a file larger than this is split.
  int64_t max_shard_bytes = 5'000'000'000;
};

struct ExportReport {
  int64_t quantized_linears = 0;
  /// max |stored - trained| / |trained| over the quantized weights, for kHuggingFace over all.
  double largest_relative_error = 0.0;
  std::string layout;     ///< "pack-quantized", "Q4_0", ...
  std::string embedding;  ///< how the embedding and an unquantized head are stored
};

/// Writes `source` as `path`, a file for GGUF and a directory otherwise, atomically and one tensor
/// at a time. The integers and scales are the model's own, bit for bit; nothing is requantized.
/// Throws Error when `path` exists already, when the format has no place for the grid or the group
/// size, or cannot hold a scale exactly (but see ExportOptions::allow_inexact).
ExportReport export_model(const ExportSource& source, ExportFormat format,
                          const std::filesystem::path& path, const ExportOptions& options = {});

/// The same for a converted model in memory. `config` is the plain model's config.json; `text`,
/// which GGUF needs, gives the tokenizer and chat template.
ExportReport export_model(const torch::nn::Module& model, const nlohmann::json& config,
                          const io::Checkpoint* text, ExportFormat format,
                          const std::filesystem::path& path, const ExportOptions& options = {});

}  // namespace nibble
