#pragma once

#include <nibble/io/file.h>
#include <nibble/io/tensor_data.h>

#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace nibble::io {

/// A safetensors file, mapped. The header is checked in full before any tensor is handed out:
/// lengths, offsets, dtype names, shape products, overlaps and holes (the format allows none).
/// Source: github.com/huggingface/safetensors, "Format".
class SafetensorsFile {
 public:
  /// Throws Error naming the file and the first thing that is wrong with it.
  explicit SafetensorsFile(const std::filesystem::path& path);

  /// Tensor names in the order of their bytes in the file.
  const std::vector<std::string>& names() const { return names_; }
  bool contains(const std::string& name) const { return tensors_.count(name) != 0; }
  /// The tensor; its bytes point into the map. Throws Error for an unknown name.
  const TensorData& at(const std::string& name) const;
  /// The `__metadata__` strings.
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

 private:
  std::filesystem::path path_;
  std::vector<std::string> names_;
  std::map<std::string, TensorData> tensors_;
  std::map<std::string, std::string> metadata_;
};

struct NamedTensor {
  std::string name;
  TensorData data;
};

/// Writes a safetensors file atomically. Offsets are aligned to 8 bytes by padding the header with
/// spaces, as the reference implementation does. Throws Error on duplicate names.
void write_safetensors(const std::filesystem::path& path, const std::vector<NamedTensor>& tensors,
                       const std::map<std::string, std::string>& metadata = {{"format", "pt"}});

}  // namespace nibble::io
