#include <algorithm>
#include <limits>

#include "jinja_arguments.h"
#include "jinja_attributes.h"
#include "jinja_format.h"
#include "jinja_interpreter.h"
#include "jinja_operators.h"
#include "jinja_search.h"
#include "jinja_strings.h"

namespace nibble::text::jinja {
namespace {

// The empty parameter name is positional only, as most of str's are.
constexpr std::string_view kPositional = "";

const std::string& string_argument(const Value& value, std::string_view method) {
  require_defined(value);
  NIBBLE_CHECK(value.is(Kind::kString), method, "() needs a str, not ", type_name(value));
  return value.text();
}

int64_t index_argument(const Parameters& parameters, size_t index, int64_t otherwise) {
  return parameters.has(index) ? to_index(*parameters[index], "an index") : otherwise;
}

template <std::string (*function)(std::string_view)>
Value mapped(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  Parameters("str method", arguments, {});
  interpreter.budget().allocate(3 * self.text().size());
  interpreter.budget().step(self.text().size() / 4);
  return Value::string(function(self.text()));
}

template <Side side>
Value stripped(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  const Parameters parameters("strip", arguments, {kPositional});
  interpreter.budget().allocate(self.text().size());
  std::optional<std::string_view> characters;
  if (parameters.has(0)) {
    characters = string_argument(*parameters[0], "strip");
    interpreter.budget().step(self.text().size() * (characters->size() / 64 + 1) / 64);
  }
  return Value::string(std::string(strip(self.text(), side, characters)));
}

Value strings(Budget& budget, const std::vector<std::string_view>& parts) {
  std::vector<Value> items;
  for (const std::string_view part : parts) {
    budget.allocate(sizeof(Value) + sizeof(StringObject) + part.size());
    items.push_back(Value::string(std::string(part)));
  }
  return Value::list(std::move(items));
}

template <bool from_right>
Value split_method(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  const Parameters parameters("split", arguments, {"sep", "maxsplit"});
  const int64_t limit = parameters[1] != nullptr ? to_index(*parameters[1], "maxsplit") : -1;
  interpreter.budget().allocate(self.text().size());
  if (!parameters.has(0)) {
    return strings(interpreter.budget(),
                   from_right ? rsplit_space(self.text(), limit) : split_space(self.text(), limit));
  }
  const std::string& separator = string_argument(*parameters[0], "split");
  NIBBLE_CHECK(!separator.empty(), "split() with an empty separator");
  return strings(interpreter.budget(), from_right ? rsplit(self.text(), separator, limit)
                                                  : split(self.text(), separator, limit));
}

Value split_lines_method(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  const Parameters parameters("splitlines", arguments, {"keepends"});
  interpreter.budget().allocate(self.text().size());
  return strings(interpreter.budget(), split_lines(self.text(), parameters.flag(0)));
}

template <bool from_right>
Value partition(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  const Parameters parameters("partition", arguments, {kPositional}, 1);
  const std::string& separator = string_argument(*parameters[0], "partition");
  NIBBLE_CHECK(!separator.empty(), "partition() with an empty separator");
  const std::string& text = self.text();
  interpreter.budget().allocate(text.size());
  const size_t found = from_right ? rfind_text(text, separator) : find_text(text, separator);
  if (found == std::string::npos) {
    const Value empty = Value::string("");
    return from_right ? Value::tuple({empty, empty, self}) : Value::tuple({self, empty, empty});
  }
  return Value::tuple({Value::string(text.substr(0, found)), *parameters[0],
                       Value::string(text.substr(found + separator.size()))});
}

Value replace(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  const Parameters parameters("replace", arguments, {kPositional, kPositional, "count"}, 2);
  return replace_text(interpreter.budget(), self.text(), string_argument(*parameters[0], "replace"),
                      string_argument(*parameters[1], "replace"),
                      parameters[2] != nullptr ? to_index(*parameters[2], "count") : -1);
}

Value join(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  const Parameters parameters("join", arguments, {kPositional}, 1);
  TextBuilder out(interpreter.budget());
  const auto next = iterate(*parameters[0]);
  for (bool first = true; const std::optional<Value> item = next(); first = false) {
    out << (first ? std::string_view() : std::string_view(self.text()));
    out << string_argument(*item, "join");
  }
  return Value::string(out.take());
}

/// The part of `text` between the code points that the parameters at `first` and `first + 1` give,
/// and the code points before it; nothing where it starts behind the end.
std::optional<std::pair<std::string_view, size_t>> window(const Value& self,
                                                          const Parameters& parameters,
                                                          size_t first) {
  const auto count = static_cast<int64_t>(self.text_length());
  const auto resolve = [&](int64_t index) {
    return std::max<int64_t>(index < 0 ? index + count : index, 0);
  };
  const int64_t begin = resolve(index_argument(parameters, first, 0));
  const int64_t end = std::min(count, resolve(index_argument(parameters, first + 1, count)));
  if (begin > count || begin > end) {
    return std::nullopt;
  }
  const std::string_view text = self.text();
  const size_t from = byte_offset(text, static_cast<size_t>(begin));
  const size_t to = byte_offset(text, static_cast<size_t>(end));
  return std::pair(text.substr(from, to - from), static_cast<size_t>(begin));
}

template <bool at_end>
Value affix_test(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  const Parameters parameters(at_end ? "endswith" : "startswith", arguments,
                              {kPositional, kPositional, kPositional}, 1);
  interpreter.budget().step(1 + self.text().size() / 64);
  const auto part = window(self, parameters, 1);
  const auto matches = [&](const Value& affix) {
    const std::string& text = string_argument(affix, at_end ? "endswith" : "startswith");
    return part && (at_end ? part->first.ends_with(text) : part->first.starts_with(text));
  };
  if (parameters[0]->is(Kind::kTuple)) {
    const auto& affixes = parameters[0]->items();
    return Value::boolean(std::any_of(affixes.begin(), affixes.end(), matches));
  }
  return Value::boolean(matches(*parameters[0]));
}

template <bool from_right, bool must_exist>
Value find(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  const Parameters parameters("find", arguments, {kPositional, kPositional, kPositional}, 1);
  interpreter.budget().step(1 + self.text().size() / 16);
  const std::string& wanted = string_argument(*parameters[0], "find");
  if (const auto part = window(self, parameters, 1)) {
    const size_t at = from_right ? rfind_text(part->first, wanted) : find_text(part->first, wanted);
    if (at != std::string_view::npos) {
      const size_t before = count_code_points(part->first.substr(0, at));
      return Value::integer(static_cast<int64_t>(part->second + before));
    }
  }
  NIBBLE_CHECK(!must_exist, "substring not found");
  return Value::integer(-1);
}

Value count(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  const Parameters parameters("count", arguments, {kPositional, kPositional, kPositional}, 1);
  interpreter.budget().step(1 + self.text().size() / 16);
  const std::string& wanted = string_argument(*parameters[0], "count");
  const auto part = window(self, parameters, 1);
  if (!part) {
    return Value::integer(0);
  }
  if (wanted.empty()) {
    return Value::integer(static_cast<int64_t>(count_code_points(part->first)) + 1);
  }
  int64_t found = 0;
  for (size_t at = find_text(part->first, wanted); at != std::string_view::npos;
       at = find_text(part->first, wanted, at + wanted.size())) {
    ++found;
  }
  return Value::integer(found);
}

template <bool at_end>
Value remove_affix(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  const Parameters parameters("removeprefix", arguments, {kPositional}, 1);
  const std::string& affix = string_argument(*parameters[0], "removeprefix");
  std::string_view text = self.text();
  interpreter.budget().allocate(text.size());
  if (at_end && text.ends_with(affix)) {
    text.remove_suffix(affix.size());
  } else if (!at_end && text.starts_with(affix)) {
    text.remove_prefix(affix.size());
  }
  return Value::string(std::string(text));
}

template <bool (*predicate)(char32_t)>
Value all_characters(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  Parameters("str method", arguments, {});
  interpreter.budget().allocate(4 * self.text().size());
  const std::vector<char32_t> characters = decode(self.text());
  return Value::boolean(!characters.empty() &&
                        std::all_of(characters.begin(), characters.end(), predicate));
}

// islower and isupper: at least one cased character, none of the other case.
template <bool (*wanted)(char32_t), bool (*other)(char32_t)>
Value all_cased(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  Parameters("str method", arguments, {});
  interpreter.budget().allocate(4 * self.text().size());
  const std::vector<char32_t> characters = decode(self.text());
  return Value::boolean(std::any_of(characters.begin(), characters.end(), wanted) &&
                        std::none_of(characters.begin(), characters.end(), other));
}

bool is_alphanumeric(char32_t c) { return is_alpha(c) || is_digit(c); }

enum class Alignment { kLeft, kRight, kCenter };

template <Alignment alignment>
Value justify(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  const Parameters parameters("justify", arguments, {kPositional, kPositional}, 1);
  const std::string fill = parameters[1] != nullptr ? parameters[1]->text() : " ";
  NIBBLE_CHECK(count_code_points(fill) == 1, "the fill must be one character");
  const int64_t width = to_index(*parameters[0], "the width");
  const int64_t missing = std::max<int64_t>(width - static_cast<int64_t>(self.text_length()), 0);
  // CPython's str.center puts the odd space left of text in an odd width.
  const int64_t left = alignment == Alignment::kLeft    ? 0
                       : alignment == Alignment::kRight ? missing
                                                        : missing / 2 + (missing & width & 1);
  TextBuilder out(interpreter.budget());
  out.repeat(fill, static_cast<size_t>(left));
  out << self.text();
  out.repeat(fill, static_cast<size_t>(missing - left));
  return Value::string(out.take());
}

Value zero_fill(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  const Parameters parameters("zfill", arguments, {kPositional}, 1);
  const int64_t width = to_index(*parameters[0], "the width");
  const int64_t missing = std::max<int64_t>(width - static_cast<int64_t>(self.text_length()), 0);
  std::string_view text = self.text();
  TextBuilder out(interpreter.budget());
  if (text.starts_with('+') || text.starts_with('-')) {
    out << text.substr(0, 1);
    text.remove_prefix(1);
  }
  out.repeat("0", static_cast<size_t>(missing));
  out << text;
  return Value::string(out.take());
}

Value format(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  return Value::string(brace_format(interpreter, self.text(), arguments));
}

constexpr std::pair<std::string_view, Method> kMethods[] = {
    {"upper", mapped<to_upper>},
    {"lower", mapped<to_lower>},
    {"casefold", mapped<to_lower>},
    {"title", mapped<title>},
    {"capitalize", mapped<capitalize>},
    {"swapcase", mapped<swap_case>},
    {"strip", stripped<Side::kBoth>},
    {"lstrip", stripped<Side::kLeft>},
    {"rstrip", stripped<Side::kRight>},
    {"split", split_method<false>},
    {"rsplit", split_method<true>},
    {"splitlines", split_lines_method},
    {"partition", partition<false>},
    {"rpartition", partition<true>},
    {"replace", replace},
    {"join", join},
    {"startswith", affix_test<false>},
    {"endswith", affix_test<true>},
    {"find", find<false, false>},
    {"rfind", find<true, false>},
    {"index", find<false, true>},
    {"rindex", find<true, true>},
    {"count", count},
    {"removeprefix", remove_affix<false>},
    {"removesuffix", remove_affix<true>},
    {"isalpha", all_characters<is_alpha>},
    {"isdigit", all_characters<is_digit>},
    {"isdecimal", all_characters<is_decimal>},
    {"isnumeric", all_characters<is_digit>},
    {"isalnum", all_characters<is_alphanumeric>},
    {"isspace", all_characters<is_space>},
    {"islower", all_cased<is_lower, is_upper>},
    {"isupper", all_cased<is_upper, is_lower>},
    {"ljust", justify<Alignment::kLeft>},
    {"rjust", justify<Alignment::kRight>},
    {"center", justify<Alignment::kCenter>},
    {"zfill", zero_fill},
    {"format", format},
};

}  // namespace

Value replace_text(Budget& budget, std::string_view text, std::string_view old,
                   std::string_view replacement, int64_t limit) {
  TextBuilder out(budget);
  size_t copied = 0;
  if (old.empty()) {
    // Python puts the replacement in front of every character and at the end.
    for (size_t at = 0; limit != 0; --limit) {
      out << replacement;
      const size_t bytes = at < text.size() ? code_point_bytes(text, at) : 0;
      out << text.substr(at, bytes);
      copied = at += bytes;
      if (bytes == 0) {
        break;
      }
    }
  }
  for (size_t at = 0; !old.empty() && limit != 0; --limit) {
    at = find_text(text, old, copied);
    if (at == std::string_view::npos) {
      break;
    }
    out << text.substr(copied, at - copied) << replacement;
    copied = at + old.size();
  }
  out << text.substr(copied);
  return Value::string(out.take());
}

Method find_string_method(std::string_view name) {
  const auto found = std::find_if(std::begin(kMethods), std::end(kMethods),
                                  [&](const auto& entry) { return entry.first == name; });
  return found == std::end(kMethods) ? nullptr : found->second;
}

}  // namespace nibble::text::jinja
