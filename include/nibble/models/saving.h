#pragma once

#include <nibble/io/checkpoint.h>
#include <nibble/models/causal_lm.h>

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <optional>

namespace nibble::models {

struct SaveOptions {
  /// Where tokenizer, chat template and generation settings come from; null writes none.
  const io::Checkpoint* source = nullptr;
  /// Stored dtype; empty: that of the parameters.
  std::optional<at::ScalarType> dtype = {};
};

/// Writes `model` as the Hugging Face directory `path`: config.json, model.safetensors, and the
/// source's tokenizer.json, tokenizer_config.json, chat template and generation settings (files of
/// a Hugging Face source are copied unchanged). Atomic: written beside `path`, flushed to the disk,
/// then renamed, so `path` holds a whole checkpoint or nothing. A prepared model is stored as the
/// plain model that it trains. Throws Error when `path` exists and is not an empty directory, or
/// when a Linear is quantized already.
void save_checkpoint(const CausalLMImpl& model, const std::filesystem::path& path,
                     const SaveOptions& options = {});

}  // namespace nibble::models
