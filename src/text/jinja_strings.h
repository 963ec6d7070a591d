#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

/// Python's str over UTF-8: positions and lengths are code points. Text is well-formed: it is
/// checked where it enters.
namespace nibble::text::jinja {

/// Byte offset of the first ill-formed sequence.
std::optional<size_t> find_ill_formed(std::string_view text);
size_t count_code_points(std::string_view text);
/// Bytes of the code point that starts at byte `at`.
size_t code_point_bytes(std::string_view text, size_t at);
char32_t code_point_at(std::string_view text, size_t at);
void append_code_point(std::string& out, char32_t c);
/// Byte offset of code point `index`; the size where there are fewer.
size_t byte_offset(std::string_view text, size_t index);
std::vector<char32_t> decode(std::string_view text);
std::string encode(const std::vector<char32_t>& code_points);

bool is_space(char32_t c);
bool is_printable(char32_t c);
bool is_alpha(char32_t c);
bool is_decimal(char32_t c);
/// Python's str.isdigit and str.isnumeric for one character.
bool is_digit(char32_t c);
bool is_upper(char32_t c);
bool is_lower(char32_t c);
bool is_identifier_character(char32_t c);

std::string to_upper(std::string_view text);
std::string to_lower(std::string_view text);
std::string swap_case(std::string_view text);
/// str.capitalize and str.title.
std::string capitalize(std::string_view text);
std::string title(std::string_view text);

enum class Side { kBoth, kLeft, kRight };
/// str.strip and its one-sided forms; without `characters`, white space.
std::string_view strip(std::string_view text, Side side = Side::kBoth,
                       std::optional<std::string_view> characters = std::nullopt);
/// str.split on white space, at most `limit` splits where it is not negative.
std::vector<std::string_view> split_space(std::string_view text, int64_t limit);
std::vector<std::string_view> rsplit_space(std::string_view text, int64_t limit);
std::vector<std::string_view> split(std::string_view text, std::string_view separator,
                                    int64_t limit);
std::vector<std::string_view> rsplit(std::string_view text, std::string_view separator,
                                     int64_t limit);
std::vector<std::string_view> split_lines(std::string_view text, bool keep_ends);

}  // namespace nibble::text::jinja
