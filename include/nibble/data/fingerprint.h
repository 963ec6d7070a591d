#pragma once

#include <nibble/data/row.h>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace nibble::data {

/// A 64-bit number of token sequences and texts that tells whether two of them are the same: FNV-1a
/// over the little-endian bytes of lengths and ids, and over texts. Against mistakes, not against
/// attacks. Source: Fowler, Noll, Vo; the offset basis and prime of 64 bits.
class Fingerprint {
 public:
  void add(std::span<const int64_t> ids);
  /// Length and bytes.
  void add(std::string_view bytes);
  /// 16 hexadecimal digits.
  std::string to_string() const;

 private:
  void add_byte(uint64_t byte);
  void add_word(uint64_t word);

  uint64_t state_ = 0xcbf29ce484222325u;
};

/// Of ids, labels and segments, in the rows' order.
std::string fingerprint(std::span<const Row> rows);

}  // namespace nibble::data
