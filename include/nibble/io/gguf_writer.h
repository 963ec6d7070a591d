#pragma once

#include <nibble/io/ggml_types.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <variant>
#include <vector>

namespace nibble::io {

/// A value of a GGUF file's metadata; the alternative is the type in the file.
using GgufValue = std::variant<uint32_t, float, bool, std::string, std::vector<std::string>,
                               std::vector<int32_t>>;

struct GgufEntry {
  std::string key;
  GgufValue value;
};

/// What a file is to hold of a tensor, before its data exist.
struct GgufTensorInfo {
  std::string name;
  const GgmlType* type = nullptr;
  std::vector<int64_t> shape;  ///< row-major, outermost first; rows divide into whole blocks

  /// Throws Error where the shape does not divide or overflows.
  uint64_t byte_size() const;
};

class SlotFile;

/// Writes a GGUF file (version 3) atomically, one tensor at a time in any order, so that no two
/// have to be in memory. The tensors lie in the order in which they are announced.
class GgufWriter {
 public:
  /// Throws Error on duplicate keys or names.
  GgufWriter(const std::filesystem::path& path, const std::vector<GgufEntry>& metadata,
             const std::vector<GgufTensorInfo>& tensors);
  ~GgufWriter();
  GgufWriter(const GgufWriter&) = delete;
  GgufWriter& operator=(const GgufWriter&) = delete;

  /// Throws Error for a tensor that was not announced, has another size, or was written before.
  void write(const std::string& name, std::span<const std::byte> bytes);
  /// Throws Error when an announced tensor was not written.
  void finish();

 private:
  std::unique_ptr<SlotFile> file_;
};

}  // namespace nibble::io
