#include "utf8.h"

#include <cstring>

namespace nibble::text {
namespace {

/// Bytes before the first that is not ASCII, eight at a time.
size_t ascii_prefix(std::string_view text) {
  size_t length = 0;
  for (uint64_t word = 0; length + sizeof(word) <= text.size(); length += sizeof(word)) {
    std::memcpy(&word, text.data() + length, sizeof(word));
    if ((word & 0x8080808080808080) != 0) {
      break;
    }
  }
  while (length < text.size() && static_cast<unsigned char>(text[length]) < 0x80) {
    ++length;
  }
  return length;
}

}  // namespace

void append_code_point(std::string& out, char32_t code) {
  const auto continuation = [&](int shift) {
    out += static_cast<char>(0x80 | (code >> shift & 0x3F));
  };
  if (code < 0x80) {
    out += static_cast<char>(code);
  } else if (code < 0x800) {
    out += static_cast<char>(0xC0 | code >> 6);
    continuation(0);
  } else if (code < 0x10000) {
    out += static_cast<char>(0xE0 | code >> 12);
    continuation(6);
    continuation(0);
  } else {
    out += static_cast<char>(0xF0 | code >> 18);
    continuation(12);
    continuation(6);
    continuation(0);
  }
}

size_t sequence_length(std::string_view text, bool& valid) {
  const auto lead = static_cast<unsigned char>(text[0]);
  valid = lead < 0x80;
  if (lead < 0xC2 || lead > 0xF4) {
    return 1;
  }
  // The second byte's range excludes overlong forms, surrogates and values above U+10FFFF.
  const size_t length = char_length(text[0]);
  unsigned char low = 0x80;
  unsigned char high = 0xBF;
  if (lead == 0xE0) {
    low = 0xA0;
  } else if (lead == 0xED) {
    high = 0x9F;
  } else if (lead == 0xF0) {
    low = 0x90;
  } else if (lead == 0xF4) {
    high = 0x8F;
  }
  for (size_t i = 1; i < length; ++i) {
    const auto byte = i < text.size() ? static_cast<unsigned char>(text[i]) : 0;
    if (byte < low || byte > high) {
      return i;
    }
    low = 0x80;
    high = 0xBF;
  }
  valid = true;
  return length;
}

bool is_well_formed(std::string_view text) {
  bool valid = true;
  while (valid) {
    text.remove_prefix(ascii_prefix(text));
    if (text.empty()) {
      break;
    }
    text.remove_prefix(sequence_length(text, valid));
  }
  return valid;
}

std::string replace_ill_formed(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    bool valid = false;
    const size_t length = sequence_length(text, valid);
    out += valid ? text.substr(0, length) : kReplacementCharacter;
    text.remove_prefix(length);
  }
  return out;
}

}  // namespace nibble::text
