#pragma once

#include <nibble/io/tensor_data.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace nibble::io {

/// A tensor type of GGUF files. A row of such a tensor is a run of blocks; a block of
/// `block_elements` elements takes `block_bytes` bytes.
struct GgmlType {
  uint32_t id;
  std::string_view name;
  int64_t block_elements;
  int64_t block_bytes;
  /// Types that need no dequantization: the type of their elements.
  std::optional<DType> dtype;
  /// The others: writes `blocks * block_elements` floats. Computed in float32, one rounding an
  /// operation, bitwise what the `gguf` Python package (quants.py, dequantize) gives.
  void (*dequantize)(const std::byte* data, int64_t blocks, float* out);
  /// Types whose values are an int8 code times the block's scale (Q8_0): writes
  /// `blocks * block_elements` codes and `blocks` scales. Null for the others.
  void (*split_int8)(const std::byte* data, int64_t blocks, int8_t* codes, float* scales) = nullptr;
};

/// The type with this number, or nullptr where it is not supported.
const GgmlType* find_ggml_type(uint32_t id);

/// The type's name for messages ("IQ2_XXS"), also of types that are not supported.
std::string ggml_type_name(uint32_t id);

/// "F32, F16, BF16, Q4_0, ...": what find_ggml_type() knows.
std::string supported_ggml_types();

}  // namespace nibble::io
