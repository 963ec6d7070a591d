#pragma once

#include <nibble/core/host_device.h>

#include <cstdint>

/// Two 4-bit codes a byte: the even column in the low nibble, the odd one in the high nibble,
/// stored offset by 8 (codes -8..7 as 0..15). A row of `cols` codes takes packed_row_bytes(cols)
/// bytes; the last high nibble of an odd row holds 8, the code 0. Same bits as compressed-tensors'
/// pack-quantized words read as little-endian bytes.
namespace nibble::numerics {

inline constexpr int kInt4Offset = 8;

NIBBLE_HD constexpr int64_t packed_row_bytes(int64_t cols) { return (cols + 1) / 2; }

/// `low` and `high` are codes -8..7.
NIBBLE_HD constexpr uint8_t pack_int4(int low, int high) {
  return static_cast<uint8_t>((low + kInt4Offset) | ((high + kInt4Offset) << 4));
}
NIBBLE_HD constexpr int8_t unpack_int4_low(uint8_t byte) {
  return static_cast<int8_t>((byte & 0x0f) - kInt4Offset);
}
NIBBLE_HD constexpr int8_t unpack_int4_high(uint8_t byte) {
  return static_cast<int8_t>((byte >> 4) - kInt4Offset);
}

}  // namespace nibble::numerics
