#pragma once

#include <string_view>

#include "jinja_value.h"

namespace nibble::text::jinja {

/// `input|name(arguments)`.
using FilterFunction = Value (*)(Interpreter&, const Value& input, const Arguments& arguments);

/// Null for a name that Jinja does not have, or that no chat template can mean (HTML, random).
FilterFunction find_filter(std::string_view name);

// The table's parts: text and numbers, and sequences.
FilterFunction find_text_filter(std::string_view name);
FilterFunction find_sequence_filter(std::string_view name);

}  // namespace nibble::text::jinja
