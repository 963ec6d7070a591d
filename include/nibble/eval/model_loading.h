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

/// A model as it is stored: an int8 embedding and output projection stay int8, the Linears of a
/// dequantized_view() come back as int4 codes; all compute in `options.dtype`.
std::shared_ptr<models::CausalLMImpl> load_for_inference(const io::Checkpoint& checkpoint,
                                                         LoadOptions options = {});

/// The same for whatever the library can read: a Hugging Face directory, a GGUF file, or what
/// save_quantized() wrote.
LoadedModel load_any_model(const std::filesystem::path& path, const LoadOptions& options = {});

}  // namespace nibble::eval
