#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

namespace nibble::io {

/// Element types of tensors in files; the names are those of safetensors.
enum class DType { kF64, kF32, kF16, kBF16, kI64, kI32, kI16, kI8, kU8, kBool };

/// Bytes of one element.
size_t item_size(DType dtype);
/// "F32", "BF16", ... as written in a safetensors header.
std::string_view name_of(DType dtype);

/// A dense row-major tensor in memory that somebody else owns; `owner` keeps that memory (a file
/// map or a heap buffer) alive.
struct TensorData {
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;
  std::span<const std::byte> bytes;
  std::shared_ptr<const void> owner;

  /// Product of the dimensions; 1 for a scalar.
  int64_t numel() const;
};

}  // namespace nibble::io
