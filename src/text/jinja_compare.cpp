#include <algorithm>

#include "jinja_value.h"

namespace nibble::text::jinja {
namespace {

bool is_sequence(const Value& value) { return value.is(Kind::kList) || value.is(Kind::kTuple); }

bool sequences_equal(Budget& budget, const std::vector<Value>& a, const std::vector<Value>& b) {
  if (a.size() != b.size()) {
    return false;
  }
  for (size_t i = 0; i < a.size(); ++i) {
    if (!equals(budget, a[i], b[i])) {
      return false;
    }
  }
  return true;
}

bool dicts_equal(Budget& budget, const DictObject& a, const DictObject& b) {
  if (a.items.size() != b.items.size()) {
    return false;
  }
  for (const auto& [key, value] : a.items) {
    const Value* other = b.find(budget, key);
    if (other == nullptr || !equals(budget, value, *other)) {
      return false;
    }
  }
  return true;
}

bool ranges_equal(const RangeObject& a, const RangeObject& b) {
  const int64_t length = a.length();
  return length == b.length() &&
         (length == 0 || (a.start == b.start && (length == 1 || a.step == b.step)));
}

// Views of keys and items are sets in Python.
bool views_equal(Budget& budget, const Value& a, const Value& b) {
  if (a.items().size() != b.items().size()) {
    return false;
  }
  for (const Value& item : a.items()) {
    bool found = false;
    for (const Value& other : b.items()) {
      found = found || equals(budget, item, other);
    }
    if (!found) {
      return false;
    }
  }
  return true;
}

}  // namespace

bool equals(Budget& budget, const Value& a, const Value& b) {
  budget.step();
  if (a.is_number() && b.is_number()) {
    return a.is_integral() && b.is_integral() ? a.as_integer() == b.as_integer()
                                              : a.as_float() == b.as_float();
  }
  if (a.kind() != b.kind()) {
    return false;
  }
  if (a.identity() != nullptr && a.identity() == b.identity()) {
    return true;
  }
  switch (a.kind()) {
    case Kind::kUndefined:
    case Kind::kNone:
      return true;
    case Kind::kString:
      budget.step(a.text().size() / 64);
      return a.text() == b.text();
    case Kind::kList:
    case Kind::kTuple:
      return sequences_equal(budget, a.items(), b.items());
    case Kind::kDict:
      return dicts_equal(budget, a.dict(), b.dict());
    case Kind::kRange:
      return ranges_equal(a.range(), b.range());
    case Kind::kView:
      return views_equal(budget, a, b);
    default:
      return false;
  }
}

bool less(Budget& budget, const Value& a, const Value& b) {
  budget.step();
  require_defined(a);
  require_defined(b);
  if (a.is_number() && b.is_number()) {
    return a.is_integral() && b.is_integral() ? a.as_integer() < b.as_integer()
                                              : a.as_float() < b.as_float();
  }
  if (a.is(Kind::kString) && b.is(Kind::kString)) {
    budget.step(std::min(a.text().size(), b.text().size()) / 64);
    return a.text() < b.text();  // UTF-8 bytes order as code points do
  }
  NIBBLE_CHECK(is_sequence(a) && a.kind() == b.kind(), "'<' is not supported between '",
               type_name(a), "' and '", type_name(b), "'");
  const std::vector<Value>&x = a.items(), &y = b.items();
  for (size_t i = 0; i < std::min(x.size(), y.size()); ++i) {
    if (!equals(budget, x[i], y[i])) {
      return less(budget, x[i], y[i]);
    }
  }
  return x.size() < y.size();
}

}  // namespace nibble::text::jinja
