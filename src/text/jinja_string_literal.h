#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "jinja_value.h"

namespace nibble::text::jinja {

/// The text between the quotes, decoded as Jinja does: ASCII with backslash escapes for the rest,
/// read by Python's unicode-escape codec. Throws Error with `line` on a broken escape.
std::string decode_string_literal(std::string_view text, int line);

/// Python's int(text, base); base 0 reads the prefix. Nothing where Python raises ValueError or
/// the value does not fit.
std::optional<Integer> parse_integer(std::string_view text, int base);
/// Python's float(text).
std::optional<double> parse_float(std::string_view text);

}  // namespace nibble::text::jinja
