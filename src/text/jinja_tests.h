#pragma once

#include <string_view>

#include "jinja_value.h"

namespace nibble::text::jinja {

/// Jinja's word: `input is name(arguments)`.
using TestFunction = bool (*)(Interpreter&, const Value& input, const Arguments& arguments);

/// Null for a name that Jinja does not have.
TestFunction find_test(std::string_view name);

}  // namespace nibble::text::jinja
