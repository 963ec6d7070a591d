#pragma once

#include <nibble/io/file.h>
#include <nibble/io/ggml_types.h>
#include <nibble/io/tensor_data.h>

#include <nlohmann/json_fwd.hpp>

#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace nibble::io {

/// One tensor of a GGUF file as it is stored.
struct GgufTensor {
  const GgmlType* type = nullptr;
  /// Row-major, outermost first: the reverse of the order in the file.
  std::vector<int64_t> shape;
  std::span<const std::byte> bytes;
};

/// A GGUF file (version 2 or 3, little-endian), mapped. Counts, lengths, types, offsets and
/// overlaps are checked against the file before they are used, all of them in the constructor.
/// Source: github.com/ggml-org/ggml, docs/gguf.md.
class GgufFile {
 public:
  /// Throws Error naming the file and the first thing that is wrong with it, such as a tensor type
  /// that is not supported.
  explicit GgufFile(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return file_.path(); }
  /// The metadata by key. Integers keep their signedness, float32 values are widened exactly,
  /// nested arrays stay nested. Strings are the file's bytes; nothing promises UTF-8.
  const nlohmann::json& metadata() const { return *metadata_; }
  /// Tensor names in the order of the file.
  const std::vector<std::string>& names() const { return names_; }
  bool contains(const std::string& name) const { return tensors_.count(name) != 0; }
  /// Throws Error for an unknown name.
  const GgufTensor& at(const std::string& name) const;
  /// The tensor dequantized to F32; F32, F16 and BF16 tensors in their own type, without a copy
  /// where their address in the file is aligned.
  TensorData read(const std::string& name) const;

 private:
  MappedFile file_;
  std::shared_ptr<const nlohmann::json> metadata_;
  std::vector<std::string> names_;
  std::map<std::string, GgufTensor> tensors_;
};

/// Whether the file starts with GGUF's magic bytes. False where it cannot be read.
bool is_gguf(const std::filesystem::path& path);

}  // namespace nibble::io
