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
char32_t next_code_point(std::string_view text, size_t& pos);

void append_code_point(std::string& out, char32_t code_point);

/// Bytes of the longest prefix of `text` that one well-formed character, or else one maximal part
/// of a character, takes; `valid` tells which. `text` is not empty.
size_t sequence_length(std::string_view text, bool& valid);

bool is_well_formed(std::string_view text);

/// Each maximal ill-formed part becomes U+FFFD, as in Rust's `String::from_utf8_lossy` and Python's
/// `errors="replace"`.
std::string replace_ill_formed(std::string_view text);

}  // namespace nibble::text
