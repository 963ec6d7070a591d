#pragma once

#include <optional>
#include <string_view>

#include "jinja_value.h"

namespace nibble::text::jinja {

/// A method of a str, list, tuple, dict or range, called with its object.
using Method = Value (*)(Interpreter&, const Value& self, const Arguments& arguments);

/// Null where Python has no such method, or the sandbox forbids it.
Method find_string_method(std::string_view name);
Method find_container_method(Kind kind, std::string_view name);

/// Python's text.replace(old, replacement, limit); every occurrence where `limit` is negative.
Value replace_text(Budget& budget, std::string_view text, std::string_view old,
                   std::string_view replacement, int64_t limit);

/// Python's getattr() under the sandbox: nothing where there is no attribute, an undefined value
/// where it may not be used.
std::optional<Value> find_attribute(Interpreter& interpreter, const Value& object,
                                    std::string_view name);

}  // namespace nibble::text::jinja
