#pragma once

#include <cstdint>
#include <string_view>

/// Constants of the GGUF format that reading and writing share.
namespace nibble::io {

inline constexpr std::string_view kMagic = "GGUF";
inline constexpr uint64_t kDefaultAlignment = 32;

/// enum gguf_metadata_value_type.
enum class ValueType : uint32_t {
  kUint8,
  kInt8,
  kUint16,
  kInt16,
  kUint32,
  kInt32,
  kFloat32,
  kBool,
  kString,
  kArray,
  kUint64,
  kInt64,
  kFloat64,
};

}  // namespace nibble::io
