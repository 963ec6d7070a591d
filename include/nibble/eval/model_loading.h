#pragma once

#include <nibble/io/checkpoint.h>
#include <nibble/models/loading.h>

#include <filesystem>
#include <memory>

namespace nibble::eval {

/// A model and the checkpoint it came from (for its tokenizer and template).
struct LoadedModel {
  std::unique_ptr<io::Checkpoint> checkpoint;
  std::shared_ptr<models::CausalLMImpl> model;
};

/// Loads whatever the library can read: a Hugging Face directory, a GGUF file, or what
/// save_quantized() wrote, whose Linears come back as int4 codes and compute in `options.dtype`.
LoadedModel load_any_model(const std::filesystem::path& path, const LoadOptions& options = {});

}  // namespace nibble::eval
