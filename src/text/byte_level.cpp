#include "byte_level.h"

#include <array>

#include "utf8.h"

namespace nibble::text {
namespace {

constexpr char32_t kFirstSubstitute = 0x100;
constexpr size_t kSubstitutes = 68;  // bytes that do not stand for themselves

constexpr bool stands_for_itself(unsigned byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

const std::array<std::string, 256>& characters() {
  static const std::array<std::string, 256> table = [] {
    std::array<std::string, 256> result;
    char32_t substitute = kFirstSubstitute;
    for (unsigned byte = 0; byte < 256; ++byte) {
      append_code_point(result[byte], stands_for_itself(byte) ? byte : substitute++);
    }
    return result;
  }();
  return table;
}

constexpr std::array<unsigned char, kSubstitutes> kSubstitutedBytes = [] {
  std::array<unsigned char, kSubstitutes> result{};
  size_t count = 0;
  for (unsigned byte = 0; byte < 256; ++byte) {
    if (!stands_for_itself(byte)) {
      result[count++] = static_cast<unsigned char>(byte);
    }
  }
  return result;
}();

}  // namespace

std::string_view byte_to_character(unsigned char byte) { return characters()[byte]; }

std::optional<unsigned char> character_to_byte(char32_t code) {
  if (code < kFirstSubstitute) {
    return stands_for_itself(code) ? std::optional(static_cast<unsigned char>(code)) : std::nullopt;
  }
  const char32_t index = code - kFirstSubstitute;
  return index < kSubstitutes ? std::optional(kSubstitutedBytes[index]) : std::nullopt;
}

AlignedText to_byte_alphabet(const AlignedText& source) {
  AlignedText result;
  const std::string_view text = source.text();
  result.reserve(text.size() + text.size() / 2);
  for (size_t pos = 0; pos < text.size(); ++pos) {
    result.append(byte_to_character(static_cast<unsigned char>(text[pos])),
                  source.origin(pos, pos + 1));
  }
  return result;
}

std::string in_byte_alphabet(std::string_view bytes) {
  std::string text;
  text.reserve(2 * bytes.size());
  for (const char byte : bytes) {
    text += byte_to_character(static_cast<unsigned char>(byte));
  }
  return text;
}

void append_bytes_of_token(std::string& out, std::string_view token) {
  const size_t size = out.size();
  for (size_t pos = 0; pos < token.size();) {
    const auto byte = character_to_byte(next_code_point(token, pos));
    if (!byte) {
      out.replace(size, std::string::npos, token);
      return;
    }
    out += static_cast<char>(*byte);
  }
}

}  // namespace nibble::text
