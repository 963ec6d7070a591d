#include "jinja_tests.h"

#include <algorithm>
#include <utility>

#include "jinja_arguments.h"
#include "jinja_filters.h"
#include "jinja_interpreter.h"
#include "jinja_operators.h"
#include "jinja_strings.h"

namespace nibble::text::jinja {
namespace {

void no_arguments(const Arguments& arguments) { Parameters("test", arguments, {}); }

template <bool (*predicate)(const Value&)>
bool plain(Interpreter&, const Value& input, const Arguments& arguments) {
  no_arguments(arguments);
  return predicate(input);
}

template <const char* op>
bool comparison(Interpreter& interpreter, const Value& input, const Arguments& arguments) {
  const Parameters parameters("test", arguments, {"other"}, 1);
  return compare(interpreter.budget(), op, input, *parameters[0]);
}

bool is_divisible(Interpreter& interpreter, const Value& input, const Value& divisor,
                  int64_t remainder) {
  const Value rest = apply_binary(interpreter.budget(), '%', input, divisor);
  return equals(interpreter.budget(), rest, Value::integer(remainder));
}

bool odd(Interpreter& interpreter, const Value& input, const Arguments& arguments) {
  no_arguments(arguments);
  return is_divisible(interpreter, input, Value::integer(2), 1);
}

bool even(Interpreter& interpreter, const Value& input, const Arguments& arguments) {
  no_arguments(arguments);
  return is_divisible(interpreter, input, Value::integer(2), 0);
}

bool divisible_by(Interpreter& interpreter, const Value& input, const Arguments& arguments) {
  const Parameters parameters("divisibleby", arguments, {"num"}, 1);
  return is_divisible(interpreter, input, *parameters[0], 0);
}

bool same_as(Interpreter& interpreter, const Value& input, const Arguments& arguments) {
  const Parameters parameters("sameas", arguments, {"other"}, 1);
  const Value& other = *parameters[0];
  const bool scalar = input.identity() == nullptr || input.is(Kind::kString);
  return input.kind() == other.kind() && (scalar ? equals(interpreter.budget(), input, other)
                                                 : input.identity() == other.identity());
}

bool has_filter(Interpreter&, const Value& input, const Arguments& arguments) {
  no_arguments(arguments);
  return input.is(Kind::kString) && find_filter(input.text()) != nullptr;
}

bool has_test(Interpreter&, const Value& input, const Arguments& arguments) {
  no_arguments(arguments);
  return input.is(Kind::kString) && find_test(input.text()) != nullptr;
}

// str.islower and str.isupper: at least one cased character, none of the other case.
bool all_cased(Interpreter& interpreter, const Value& input, bool (*wanted)(char32_t),
               bool (*other)(char32_t)) {
  bool found = false;
  for (const char32_t c : decode(to_str(interpreter.budget(), input))) {
    if (other(c)) {
      return false;
    }
    found = found || wanted(c);
  }
  return found;
}

bool lower(Interpreter& interpreter, const Value& input, const Arguments& arguments) {
  no_arguments(arguments);
  return all_cased(interpreter, input, is_lower, is_upper);
}

bool upper(Interpreter& interpreter, const Value& input, const Arguments& arguments) {
  no_arguments(arguments);
  return all_cased(interpreter, input, is_upper, is_lower);
}

bool is_defined(const Value& value) { return !value.is_undefined(); }
bool is_undefined(const Value& value) { return value.is_undefined(); }
bool is_none(const Value& value) { return value.is(Kind::kNone); }
bool is_boolean(const Value& value) { return value.is(Kind::kBool); }
bool is_true(const Value& value) { return value.is(Kind::kBool) && value.as_integer() == 1; }
bool is_false(const Value& value) { return value.is(Kind::kBool) && value.as_integer() == 0; }
bool is_integer(const Value& value) { return value.is(Kind::kInteger); }
bool is_float(const Value& value) { return value.is(Kind::kFloat); }
bool is_number(const Value& value) { return value.is_number(); }
bool is_string(const Value& value) { return value.is(Kind::kString); }
bool is_mapping(const Value& value) { return value.is(Kind::kDict); }
bool is_sequence(const Value& value) {
  // Undefined has a length, and its __getitem__ exists.
  return length(value).has_value() && !value.is(Kind::kView);
}
bool is_callable(const Value& value) {
  return value.is(Kind::kFunction) || value.is(Kind::kLoop) || value.is_undefined();
}
bool is_escaped(const Value& value) { return is_markup(value); }

constexpr char kEqual[] = "==", kNotEqual[] = "!=", kLess[] = "<",
               kLessEqual[] = "<=", kGreater[] = ">", kGreaterEqual[] = ">=", kIn[] = "in";

constexpr std::pair<std::string_view, TestFunction> kTests[] = {
    {"odd", odd},
    {"even", even},
    {"divisibleby", divisible_by},
    {"defined", plain<is_defined>},
    {"undefined", plain<is_undefined>},
    {"filter", has_filter},
    {"test", has_test},
    {"none", plain<is_none>},
    {"boolean", plain<is_boolean>},
    {"false", plain<is_false>},
    {"true", plain<is_true>},
    {"integer", plain<is_integer>},
    {"float", plain<is_float>},
    {"lower", lower},
    {"upper", upper},
    {"string", plain<is_string>},
    {"mapping", plain<is_mapping>},
    {"number", plain<is_number>},
    {"sequence", plain<is_sequence>},
    {"iterable", plain<is_iterable>},
    {"callable", plain<is_callable>},
    {"sameas", same_as},
    {"escaped", plain<is_escaped>},
    {"in", comparison<kIn>},
    {"==", comparison<kEqual>},
    {"eq", comparison<kEqual>},
    {"equalto", comparison<kEqual>},
    {"!=", comparison<kNotEqual>},
    {"ne", comparison<kNotEqual>},
    {">", comparison<kGreater>},
    {"gt", comparison<kGreater>},
    {"greaterthan", comparison<kGreater>},
    {"ge", comparison<kGreaterEqual>},
    {">=", comparison<kGreaterEqual>},
    {"<", comparison<kLess>},
    {"lt", comparison<kLess>},
    {"lessthan", comparison<kLess>},
    {"<=", comparison<kLessEqual>},
    {"le", comparison<kLessEqual>},
};

}  // namespace

TestFunction find_test(std::string_view name) {
  const auto found = std::find_if(std::begin(kTests), std::end(kTests),
                                  [&](const auto& entry) { return entry.first == name; });
  return found == std::end(kTests) ? nullptr : found->second;
}

}  // namespace nibble::text::jinja
