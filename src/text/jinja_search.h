#pragma once

#include <cstddef>
#include <string_view>

/// Substring search that is linear in the text whatever is wanted: templates are untrusted, and
/// what the standard library does with long texts of one letter takes hours. Returns npos for
/// nothing.
namespace nibble::text::jinja {

/// The first place at or behind byte `from`.
size_t find_text(std::string_view text, std::string_view wanted, size_t from = 0);
/// The last place.
size_t rfind_text(std::string_view text, std::string_view wanted);

}  // namespace nibble::text::jinja
