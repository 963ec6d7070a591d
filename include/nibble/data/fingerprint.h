#pragma once

#include <nibble/data/row.h>

#include <cstdint>
#include <span>
#include <string>

namespace nibble::data {

/// A 64-bit number of token sequences that tells whether two of them are the same: FNV-1a over the
/// little-endian bytes of lengths and ids. Against mistakes, not against attacks.
/// Source: Fowler, Noll, Vo; the offset basis and prime of 64 bits.
class Fingerprint {
 public:
  void add(std::span<const int64_t> ids);
  /// 16 hexadecimal digits.
  std::string to_string() const;

 private:
  void add(uint64_t word);

  uint64_t state_ = 0xcbf29ce484222325u;
};

/// Of ids, labels and segments, in the rows' order.
std::string fingerprint(std::span<const Row> rows);

}  // namespace nibble::data
