#pragma once

#include <nibble/core/host_device.h>

#include <cstdint>
#include <cstring>

/// The in-range bits of one row (mask_row_bytes), a few consecutive columns at a time. Groups need
/// not begin at a byte; those that do are copied whole (x86 is little-endian).
namespace nibble::kernels::cpu {

class RowBitWriter {
 public:
  /// Writes nothing to a null row.
  NIBBLE_HD explicit RowBitWriter(uint8_t* row) : next_(row) {}

  /// Appends the lowest `count` <= 32 bits.
  NIBBLE_HD void append(uint32_t bits, int64_t count) {
    if (next_ == nullptr) return;
    if (count_ == 0 && count % 8 == 0) {
      memcpy(next_, &bits, static_cast<size_t>(count / 8));
      next_ += count / 8;
      return;
    }
    pending_ |= (bits & ((uint64_t{1} << count) - 1)) << count_;
    for (count_ += count; count_ >= 8; count_ -= 8) {
      *next_++ = static_cast<uint8_t>(pending_);
      pending_ >>= 8;
    }
  }

  /// Writes the last, partial byte; its unused bits are 0.
  NIBBLE_HD void finish() {
    if (count_ > 0) *next_ = static_cast<uint8_t>(pending_);
  }

 private:
  uint8_t* next_;
  uint64_t pending_ = 0;
  int64_t count_ = 0;
};

class RowBitReader {
 public:
  NIBBLE_HD explicit RowBitReader(const uint8_t* row) : next_(row) {}

  /// The next `count` <= 32 bits.
  NIBBLE_HD uint32_t take(int64_t count) {
    if (count_ == 0 && count % 8 == 0) {
      uint32_t bits = 0;
      memcpy(&bits, next_, static_cast<size_t>(count / 8));
      next_ += count / 8;
      return bits;
    }
    for (; count_ < count; count_ += 8) pending_ |= uint64_t{*next_++} << count_;
    const auto bits = static_cast<uint32_t>(pending_ & ((uint64_t{1} << count) - 1));
    pending_ >>= count;
    count_ -= count;
    return bits;
  }

 private:
  const uint8_t* next_;
  uint64_t pending_ = 0;
  int64_t count_ = 0;
};

}  // namespace nibble::kernels::cpu
