#pragma once

#include <nlohmann/json.hpp>

#include <string>

#include "jinja_value.h"

namespace nibble::text::jinja {

/// Fails on text that is not UTF-8 and on nesting deeper than templates may make.
Value from_json(const nlohmann::ordered_json& json);

/// The arguments of Python's json.dumps that chat templates pass to `tojson`.
struct JsonStyle {
  bool ensure_ascii = false;
  bool sort_keys = false;
  std::optional<std::string> indent;  // one level of indentation
  std::string item_separator = ", ", key_separator = ": ";
};

/// Python's json.dumps; fails on values that JSON does not have.
std::string to_json(Budget& budget, const Value& value, const JsonStyle& style);

}  // namespace nibble::text::jinja
