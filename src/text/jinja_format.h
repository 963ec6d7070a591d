#pragma once

#include <string>
#include <string_view>

#include "jinja_value.h"

namespace nibble::text::jinja {

/// Python's `format % value`: a tuple gives several values, a dict gives %(name)s.
std::string percent_format(Budget& budget, std::string_view format, const Value& value);

/// Python's format.format(*arguments) under the sandbox's rules for attributes and items.
std::string brace_format(Interpreter& interpreter, std::string_view format,
                         const Arguments& arguments);

/// Python's format(value, specification) for strings, integers and floats.
std::string format_value(Budget& budget, const Value& value, std::string_view specification);

}  // namespace nibble::text::jinja
