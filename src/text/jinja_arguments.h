#pragma once

#include <algorithm>
#include <initializer_list>
#include <string_view>
#include <vector>

#include "jinja_value.h"

namespace nibble::text::jinja {

/// Call arguments bound to parameter names, as Python binds them. Fails on unknown, doubled,
/// surplus and missing arguments. Refers to the arguments: it may not outlive them.
class Parameters {
 public:
  Parameters(std::string_view function, const Arguments& arguments,
             std::initializer_list<std::string_view> names, size_t required = 0)
      : values_(names.size()) {
    NIBBLE_CHECK(arguments.positional.size() <= names.size(), function, "() takes at most ",
                 names.size(), " arguments, got ", arguments.positional.size());
    for (size_t i = 0; i < arguments.positional.size(); ++i) {
      values_[i] = &arguments.positional[i];
    }
    for (const auto& [name, value] : arguments.named) {
      const auto found = std::find(names.begin(), names.end(), name);
      NIBBLE_CHECK(found != names.end(), function, "() has no parameter '", name, "'");
      const Value*& slot = values_[static_cast<size_t>(found - names.begin())];
      NIBBLE_CHECK(slot == nullptr, function, "() got two values for '", name, "'");
      slot = &value;
    }
    for (size_t i = 0; i < required; ++i) {
      NIBBLE_CHECK(values_[i] != nullptr, function, "() needs the argument '", names.begin()[i],
                   "'");
    }
  }

  /// Null where the argument was not given.
  const Value* operator[](size_t index) const { return values_[index]; }
  /// True where it was given and is not none.
  bool has(size_t index) const {
    return values_[index] != nullptr && !values_[index]->is(Kind::kNone);
  }
  bool flag(size_t index, bool otherwise = false) const {
    return values_[index] == nullptr ? otherwise : truthy(*values_[index]);
  }

 private:
  std::vector<const Value*> values_;
};

}  // namespace nibble::text::jinja
