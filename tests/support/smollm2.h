#pragma once

#include <cstdlib>
#include <filesystem>

namespace nibble::testing {

/// SmolLM2-135M-Instruct.Q4_1.gguf: NIBBLE_SMOLLM2_GGUF, else the file anywhere under models/.
/// Empty where there is none; tests then skip.
inline std::filesystem::path smollm2_gguf() {
  namespace fs = std::filesystem;
  if (const char* path = std::getenv("NIBBLE_SMOLLM2_GGUF")) return path;
  const fs::path models = fs::path(NIBBLE_SOURCE_DIR) / "models";
  if (!fs::is_directory(models)) return {};
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(models)) {
    if (entry.path().filename() == "SmolLM2-135M-Instruct.Q4_1.gguf") return entry.path();
  }
  return {};
}

}  // namespace nibble::testing
