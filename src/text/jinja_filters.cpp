#include "jinja_filters.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "jinja_arguments.h"
#include "jinja_attributes.h"
#include "jinja_format.h"
#include "jinja_interpreter.h"
#include "jinja_json.h"
#include "jinja_operators.h"
#include "jinja_string_literal.h"
#include "jinja_strings.h"

namespace nibble::text::jinja {
namespace {

std::string text_of(Interpreter& interpreter, const Value& value) {
  return to_str(interpreter.budget(), value);
}

template <std::string (*function)(std::string_view)>
Value mapped(Interpreter& interpreter, const Value& input, const Arguments& arguments) {
  Parameters("filter", arguments, {});
  const std::string text = text_of(interpreter, input);
  interpreter.budget().allocate(3 * text.size());
  interpreter.budget().step(text.size() / 4);
  return Value::string(function(text));
}

Value trim(Interpreter& interpreter, const Value& input, const Arguments& arguments) {
  const Parameters parameters("trim", arguments, {"chars"});
  const std::string text = text_of(interpreter, input);
  std::optional<std::string_view> characters;
  if (parameters.has(0)) {
    NIBBLE_CHECK(parameters[0]->is(Kind::kString), "trim() needs a str, not ",
                 type_name(*parameters[0]));
    characters = parameters[0]->text();
    interpreter.budget().step(text.size() * (characters->size() / 64 + 1) / 64);
  }
  return Value::string(std::string(strip(text, Side::kBoth, characters)));
}

// Jinja's own title: words start after white space, a hyphen or an opening bracket.
std::string title_words(std::string_view text) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const auto separates = [&](size_t i) {
      const char32_t c = code_point_at(text, i);
      return is_space(c) || (c < 0x80 && std::string_view("-({[<").find(static_cast<char>(c)) !=
                                             std::string_view::npos);
    };
    size_t end = at;
    const bool separator = separates(at);
    while (end < text.size() && separates(end) == separator) {
      end += code_point_bytes(text, end);
    }
    const size_t first = code_point_bytes(text, at);
    out += to_upper(text.substr(at, first));
    out += to_lower(text.substr(at + first, end - at - first));
    at = end;
  }
  return out;
}

Value replace(Interpreter& interpreter, const Value& input, const Arguments& arguments) {
  const Parameters parameters("replace", arguments, {"old", "new", "count"}, 2);
  return replace_text(interpreter.budget(), text_of(interpreter, input),
                      text_of(interpreter, *parameters[0]), text_of(interpreter, *parameters[1]),
                      parameters.has(2) ? to_index(*parameters[2], "count") : -1);
}

Value to_text(Interpreter& interpreter, const Value& input, const Arguments& arguments) {
  Parameters("string", arguments, {});
  return input.is(Kind::kString) ? input : Value::string(text_of(interpreter, input));
}

Value safe(Interpreter& interpreter, const Value& input, const Arguments& arguments) {
  Parameters("safe", arguments, {});
  return mark_safe(text_of(interpreter, input));
}

template <bool again>
Value escape(Interpreter& interpreter, const Value& input, const Arguments& arguments) {
  Parameters("escape", arguments, {});
  if (!again && is_markup(input)) {
    return input;
  }
  TextBuilder out(interpreter.budget());
  write_escaped(out, text_of(interpreter, input));
  return mark_safe(out.take());
}

Value indent(Interpreter& interpreter, const Value& input, const Arguments& arguments) {
  const Parameters parameters("indent", arguments, {"width", "first", "blank"});
  require_defined(input);
  NIBBLE_CHECK(input.is(Kind::kString), "indent needs a str, not ", type_name(input));
  TextBuilder indention(interpreter.budget());
  if (parameters[0] != nullptr && parameters[0]->is(Kind::kString)) {
    indention << parameters[0]->text();
  } else {
    const int64_t width = parameters[0] != nullptr ? to_index(*parameters[0], "width") : 4;
    indention.repeat(" ", static_cast<size_t>(std::max<int64_t>(width, 0)));
  }
  const std::string text = input.text() + "\n";
  const bool first = parameters.flag(1), blank = parameters.flag(2);
  TextBuilder out(interpreter.budget());
  bool at_first = true;
  for (const std::string_view line : split_lines(text, false)) {
    out << (at_first ? "" : "\n");
    // `first` indents even an empty first line.
    if (at_first ? first : (blank || !line.empty())) {
      out << indention.view();
    }
    out << line;
    at_first = false;
  }
  return Value::string(out.take());
}

Value center(Interpreter& interpreter, const Value& input, const Arguments& arguments) {
  const Parameters parameters("center", arguments, {"width"});
  Arguments width;
  width.positional = {parameters[0] != nullptr ? *parameters[0] : Value::integer(80)};
  return find_string_method("center")(interpreter, Value::string(text_of(interpreter, input)),
                                      width);
}

Value truncate(Interpreter& interpreter, const Value& input, const Arguments& arguments) {
  const Parameters parameters("truncate", arguments, {"length", "killwords", "end", "leeway"});
  require_defined(input);
  NIBBLE_CHECK(input.is(Kind::kString), "truncate needs a str, not ", type_name(input));
  const int64_t limit = parameters[0] != nullptr ? to_index(*parameters[0], "length") : 255;
  const Value end = parameters[2] != nullptr ? *parameters[2] : Value::string("...");
  NIBBLE_CHECK(end.is(Kind::kString), "truncate's end must be a str");
  const int64_t leeway = parameters.has(3) ? to_index(*parameters[3], "leeway") : 5;
  const auto end_length = static_cast<int64_t>(end.text_length());
  NIBBLE_CHECK(limit >= end_length && leeway >= 0, "truncate's length must be at least ",
               end_length);
  if (static_cast<int64_t>(input.text_length()) <= limit + leeway) {
    return input;
  }
  std::string kept =
      input.text().substr(0, byte_offset(input.text(), static_cast<size_t>(limit - end_length)));
  if (!parameters.flag(1)) {
    kept = kept.substr(0, kept.rfind(' '));
  }
  interpreter.budget().allocate(kept.size());
  return Value::string(kept + end.text());
}

Value word_count(Interpreter& interpreter, const Value& input, const Arguments& arguments) {
  Parameters("wordcount", arguments, {});
  const std::string text = text_of(interpreter, input);
  interpreter.budget().step(text.size() / 4);
  int64_t words = 0;
  bool in_word = false;
  for (const char32_t c : decode(text)) {
    const bool word = is_alpha(c) || is_digit(c) || c == U'_';
    words += word && !in_word ? 1 : 0;
    in_word = word;
  }
  return Value::integer(words);
}

Value format(Interpreter& interpreter, const Value& input, const Arguments& arguments) {
  NIBBLE_CHECK(arguments.positional.empty() || arguments.named.empty(),
               "format takes positional or keyword arguments, not both");
  auto named = std::make_shared<DictObject>();
  for (const auto& [name, value] : arguments.named) {
    named->set(Value::string(name), value);
  }
  const Value values =
      arguments.named.empty() ? Value::tuple(arguments.positional) : Value::dict(named);
  return Value::string(percent_format(interpreter.budget(), text_of(interpreter, input), values));
}

Value float_to_integer(double value) {
  NIBBLE_CHECK(std::fabs(value) < 1e38, "a float does not fit an integer");
  return Value::integer(static_cast<Integer>(value));
}

Value to_integer(Interpreter&, const Value& input, const Arguments& arguments) {
  const Parameters parameters("int", arguments, {"default", "base"});
  require_defined(input);
  const Value otherwise = parameters[0] != nullptr ? *parameters[0] : Value::integer(0);
  if (input.is_integral()) {
    return Value::integer(input.as_integer());
  }
  if (input.is(Kind::kFloat)) {
    return std::isnan(input.as_float()) ? otherwise : float_to_integer(input.as_float());
  }
  if (!input.is(Kind::kString)) {
    return otherwise;
  }
  const int64_t base = parameters[1] != nullptr ? to_index(*parameters[1], "base") : 10;
  if (base == 0 || (base >= 2 && base <= 36)) {
    if (const auto integer = parse_integer(input.text(), static_cast<int>(base))) {
      return Value::integer(*integer);
    }
  }
  const std::optional<double> real = parse_float(input.text());
  return real && std::isfinite(*real) ? float_to_integer(*real) : otherwise;
}

Value to_float(Interpreter&, const Value& input, const Arguments& arguments) {
  const Parameters parameters("float", arguments, {"default"});
  require_defined(input);
  if (input.is_number()) {
    return Value::floating(input.as_float());
  }
  const std::optional<double> real =
      input.is(Kind::kString) ? parse_float(input.text()) : std::nullopt;
  if (real) {
    return Value::floating(*real);
  }
  return parameters[0] != nullptr ? *parameters[0] : Value::floating(0);
}

Value absolute(Interpreter&, const Value& input, const Arguments& arguments) {
  Parameters("abs", arguments, {});
  require_defined(input);
  NIBBLE_CHECK(input.is_number(), "bad operand type for abs(): '", type_name(input), "'");
  if (input.is(Kind::kFloat)) {
    return Value::floating(std::fabs(input.as_float()));
  }
  return input.as_integer() < 0 ? apply_unary('-', input) : Value::integer(input.as_integer());
}

// Half to even at a negative decimal place, as Python's round of an int.
Value round_integer(Budget& budget, Integer value, int64_t precision) {
  if (precision >= 0) {
    return Value::integer(value);
  }
  NIBBLE_CHECK(precision > -38, "round() to 10 ** ", -precision, " is not supported");
  const Integer unit =
      apply_binary(budget, 'p', Value::integer(10), Value::integer(-precision)).as_integer();
  Integer quotient = value / unit, rest = value % unit;
  if (rest < 0) {
    quotient -= 1;
    rest += unit;
  }
  if (rest * 2 > unit || (rest * 2 == unit && quotient % 2 != 0)) {
    quotient += 1;
  }
  return Value::integer(quotient * unit);
}

double round_float(double value, int64_t precision) {
  if (!std::isfinite(value) || precision > 320) {
    return value;
  }
  if (precision < -310) {
    return std::copysign(0.0, value);
  }
  if (precision >= 0) {  // the exact binary value, rounded half to even in decimal
    std::array<char, 700> digits;
    std::snprintf(digits.data(), digits.size(), "%.*f", static_cast<int>(precision), value);
    return std::strtod(digits.data(), nullptr);
  }
  const double unit = std::pow(10.0, static_cast<double>(-precision));
  return std::nearbyint(value / unit) * unit;
}

Value round(Interpreter& interpreter, const Value& input, const Arguments& arguments) {
  const Parameters parameters("round", arguments, {"precision", "method"});
  require_defined(input);
  NIBBLE_CHECK(input.is_number(), "round needs a number, not ", type_name(input));
  const int64_t precision = parameters[0] != nullptr ? to_index(*parameters[0], "precision") : 0;
  const std::string method =
      parameters[1] != nullptr ? text_of(interpreter, *parameters[1]) : "common";
  if (method == "common") {
    return input.is_integral() ? round_integer(interpreter.budget(), input.as_integer(), precision)
                               : Value::floating(round_float(input.as_float(), precision));
  }
  NIBBLE_CHECK(method == "ceil" || method == "floor",
               "round's method must be common, ceil or floor");
  const double unit = std::pow(10.0, static_cast<double>(precision));
  const double scaled = input.as_float() * unit;
  return Value::floating((method == "ceil" ? std::ceil(scaled) : std::floor(scaled)) / unit);
}

Value default_value(Interpreter&, const Value& input, const Arguments& arguments) {
  const Parameters parameters("default", arguments, {"default_value", "boolean"});
  if (input.is_undefined() || (parameters.flag(1) && !truthy(input))) {
    return parameters[0] != nullptr ? *parameters[0] : Value::string("");
  }
  return input;
}

Value tojson(Interpreter& interpreter, const Value& input, const Arguments& arguments) {
  const Parameters parameters("tojson", arguments,
                              {"ensure_ascii", "indent", "separators", "sort_keys"});
  JsonStyle style;
  style.ensure_ascii = parameters.flag(0);
  style.sort_keys = parameters.flag(3);
  if (parameters.has(1)) {
    style.item_separator = ",";
    if (parameters[1]->is(Kind::kString)) {
      style.indent = parameters[1]->text();
    } else {
      const int64_t width = std::max<int64_t>(to_index(*parameters[1], "indent"), 0);
      NIBBLE_CHECK(width <= 1024, "tojson's indent is at most 1024, got ", width);
      style.indent = std::string(static_cast<size_t>(width), ' ');
    }
  }
  if (parameters.has(2)) {
    const std::vector<Value> separators = collect(interpreter.budget(), *parameters[2]);
    NIBBLE_CHECK(separators.size() == 2 && separators[0].is(Kind::kString) &&
                     separators[1].is(Kind::kString),
                 "tojson's separators must be two strings");
    style.item_separator = separators[0].text();
    style.key_separator = separators[1].text();
  }
  return Value::string(to_json(interpreter.budget(), input, style));
}

constexpr std::pair<std::string_view, FilterFunction> kFilters[] = {
    {"abs", absolute},
    {"capitalize", mapped<capitalize>},
    {"center", center},
    {"d", default_value},
    {"default", default_value},
    {"e", escape<false>},
    {"escape", escape<false>},
    {"float", to_float},
    {"forceescape", escape<true>},
    {"format", format},
    {"indent", indent},
    {"int", to_integer},
    {"lower", mapped<to_lower>},
    {"replace", replace},
    {"round", round},
    {"safe", safe},
    {"string", to_text},
    {"title", mapped<title_words>},
    {"tojson", tojson},
    {"trim", trim},
    {"truncate", truncate},
    {"upper", mapped<to_upper>},
    {"wordcount", word_count},
};

}  // namespace

FilterFunction find_text_filter(std::string_view name) {
  const auto found = std::find_if(std::begin(kFilters), std::end(kFilters),
                                  [&](const auto& entry) { return entry.first == name; });
  return found == std::end(kFilters) ? nullptr : found->second;
}

FilterFunction find_filter(std::string_view name) {
  const FilterFunction found = find_text_filter(name);
  return found != nullptr ? found : find_sequence_filter(name);
}

}  // namespace nibble::text::jinja
