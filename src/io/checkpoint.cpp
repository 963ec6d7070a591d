#include <nibble/core/error.h>
#include <nibble/io/checkpoint.h>
#include <nibble/io/file.h>
#include <nibble/io/gguf.h>

#include "gguf_checkpoint.h"
#include "hf_checkpoint.h"

namespace nibble::io {
namespace fs = std::filesystem;

std::unique_ptr<Checkpoint> open_checkpoint(const fs::path& path) {
  constexpr std::string_view kAllowed =
      "a model is a Hugging Face directory (config.json with model.safetensors or "
      "model.safetensors.index.json) or a .gguf file";
  NIBBLE_CHECK(path_exists(path), "no model at \"", path.string(),
               "\": no such file or directory; ", kAllowed, " (nothing is downloaded)");
  if (fs::is_directory(path)) return open_hf_checkpoint(path);
  if (path.extension() == ".gguf" || is_gguf(path)) return open_gguf_checkpoint(path);
  fail("no model at \"", path.string(), "\": not a directory and not a GGUF file; ", kAllowed);
}

}  // namespace nibble::io
