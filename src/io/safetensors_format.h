#pragma once

#include <cstddef>
#include <cstdint>

/// Constants of the safetensors format that reading and writing share.
namespace nibble::io {

/// The header's length comes first, a little-endian integer.
inline constexpr size_t kLengthBytes = 8;
/// The reference implementation's limit.
inline constexpr uint64_t kMaxHeaderBytes = 100'000'000;
inline constexpr char kMetadataKey[] = "__metadata__";

}  // namespace nibble::io
