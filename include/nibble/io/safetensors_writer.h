#pragma once

#include <nibble/io/tensor_data.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace nibble::io {

/// What a file is to hold of a tensor, before its data exist.
struct TensorInfo {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;

  /// Throws Error for a shape that overflows.
  int64_t byte_size() const;
};

class SlotFile;

/// Writes a safetensors file atomically, one tensor at a time in any order, so that no two have to
/// be in memory. The bytes are those of write_safetensors().
class SafetensorsWriter {
 public:
  /// Throws Error on duplicate names.
  SafetensorsWriter(const std::filesystem::path& path, std::vector<TensorInfo> tensors,
                    const std::map<std::string, std::string>& metadata = {{"format", "pt"}});
  ~SafetensorsWriter();
  SafetensorsWriter(SafetensorsWriter&&) noexcept;
  SafetensorsWriter& operator=(SafetensorsWriter&&) noexcept;

  /// Throws Error for a tensor that was not announced, was announced with another shape or dtype,
  /// or was written before.
  void write(const std::string& name, const TensorData& data);
  /// Throws Error when an announced tensor was not written.
  void finish();

 private:
  std::map<std::string, TensorInfo> tensors_;
  std::unique_ptr<SlotFile> file_;
};

}  // namespace nibble::io
