#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
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
/// The inverse of name_of(); nothing for a name that is not supported.
std::optional<DType> dtype_from_name(std::string_view name);

/// Product of the dimensions (1 for none); nothing when one is negative or the product overflows.
std::optional<int64_t> checked_numel(std::span<const int64_t> shape);

/// A dense row-major tensor in memory that somebody else owns; `owner` keeps that memory (a file
/// map or a heap buffer) alive. `bytes` starts at a multiple of item_size(dtype).
struct TensorData {
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;
  std::span<const std::byte> bytes;
  std::shared_ptr<const void> owner;

  /// Product of the dimensions; 1 for a scalar.
  int64_t numel() const;
};

/// `tensor` itself, or a copy on the heap where its bytes do not start at a multiple of its element
/// size (files may put a tensor at any address).
TensorData aligned(TensorData tensor);

}  // namespace nibble::io
