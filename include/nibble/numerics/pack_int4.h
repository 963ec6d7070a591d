#pragma once

#include <nibble/core/host_device.h>

#include <cstdint>

/// Two 4-bit codes a byte: the even column in the low nibble, the odd one in the high nibble,
/// stored offset by 8 (codes -8..7 as 0..15; those of a grid that begins at 0 as they are). A row
/// of `cols` codes takes packed_row_bytes(cols) bytes; the last high nibble of an odd row holds 8,
/// the code 0. Same bits as compressed-tensors' pack-quantized words read as little-endian bytes.
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

/// The 4 bits stored for column `col` of a packed row: the code minus the smallest of its grid.
NIBBLE_HD constexpr int nibble_at(const uint8_t* row, int64_t col) {
  return (row[col / 2] >> (col % 2 == 0 ? 0 : 4)) & 0x0f;
}
/// Stores them. Columns are set in ascending order: an even one fills its neighbour's place with
/// the padding of an odd row.
NIBBLE_HD constexpr void set_nibble(uint8_t* row, int64_t col, int nibble) {
  uint8_t& byte = row[col / 2];
  byte = static_cast<uint8_t>(col % 2 == 0 ? nibble | (kInt4Offset << 4)
                                           : (byte & 0x0f) | (nibble << 4));
}

}  // namespace nibble::numerics
