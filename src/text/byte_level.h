#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "aligned_text.h"

namespace nibble::text {

/// GPT-2's alphabet, which gives each byte a printable character: "!".."~", U+00A1..U+00AC and
/// U+00AE..U+00FF stand for themselves, the other bytes in order for U+0100 and up.
/// Source: openai/gpt-2, src/encoder.py, bytes_to_unicode.
std::string_view byte_to_character(unsigned char byte);
std::optional<unsigned char> character_to_byte(char32_t code);

/// Every byte replaced by its character.
AlignedText to_byte_alphabet(const AlignedText& source);
std::string in_byte_alphabet(std::string_view bytes);
/// Appends the bytes that `token` spells, or the token itself if it has any other character.
void append_bytes_of_token(std::string& out, std::string_view token);

/// The pattern that splits a text into words in GPT-2.
constexpr std::string_view kByteLevelPattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

}  // namespace nibble::text
