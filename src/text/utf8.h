#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace nibble::text {

constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";  // U+FFFD

/// Length of the character whose first byte is `lead`; `lead` comes from well-formed UTF-8.
inline size_t char_length(char lead) {
  const auto byte = static_cast<unsigned char>(lead);
  return byte < 0x80 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
}

inline bool is_continuation(char byte) { return (static_cast<unsigned char>(byte) & 0xC0) == 0x80; }

/// The code point at `pos` of well-formed UTF-8, and moves `pos` behind it.
inline char32_t next_code_point(std::string_view text, size_t& pos) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[pos + i]); };
  const size_t length = char_length(text[pos]);
  char32_t code = byte(0);
  if (length == 2) {
    code = (code & 0x1F) << 6 | (byte(1) & 0x3F);
  } else if (length == 3) {
    code = (code & 0x0F) << 12 | (byte(1) & 0x3F) << 6 | (byte(2) & 0x3F);
  } else if (length == 4) {
    code = (code & 0x07) << 18 | (byte(1) & 0x3F) << 12 | (byte(2) & 0x3F) << 6 | (byte(3) & 0x3F);
  }
  pos += length;
  return code;
}

void append_code_point(std::string& out, char32_t code_point);

/// Bytes of the longest prefix of `text` that one well-formed character, or else one maximal part
/// of a character, takes; `valid` tells which. `text` is not empty.
size_t sequence_length(std::string_view text, bool& valid);

bool is_well_formed(std::string_view text);

/// Each maximal ill-formed part becomes U+FFFD, as in Rust's `String::from_utf8_lossy` and Python's
/// `errors="replace"`.
std::string replace_ill_formed(std::string_view text);

}  // namespace nibble::text
