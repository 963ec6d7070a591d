#include "jinja_operators.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "jinja_format.h"
#include "jinja_search.h"
#include "jinja_strings.h"

namespace nibble::text::jinja {
namespace {

[[noreturn]] void fail_operands(std::string_view op, const Value& a, const Value& b) {
  require_defined(a);
  require_defined(b);
  fail("unsupported operands for ", op, ": '", type_name(a), "' and '", type_name(b), "'");
}

Value checked(bool overflow, Integer value) {
  NIBBLE_CHECK(!overflow, "an integer does not fit 128 bits");
  return Value::integer(value);
}

Integer floor_divide(Integer a, Integer b) {
  const Integer quotient = a / b;
  return quotient - (a % b != 0 && (a < 0) != (b < 0) ? 1 : 0);
}

Value integer_power(Integer base, Integer exponent) {
  Integer result = 1;
  bool overflow = false;
  for (; exponent > 0 && !overflow; exponent /= 2) {
    if (exponent % 2 == 1) {
      overflow = __builtin_mul_overflow(result, base, &result);
    }
    if (exponent > 1 && !overflow) {
      overflow = __builtin_mul_overflow(base, base, &base);
    }
  }
  return checked(overflow, result);
}

Value integer_arithmetic(char op, Integer a, Integer b) {
  Integer result = 0;
  if (op == '+' || op == '-' || op == '*') {
    const bool overflow = op == '+'   ? __builtin_add_overflow(a, b, &result)
                          : op == '-' ? __builtin_sub_overflow(a, b, &result)
                                      : __builtin_mul_overflow(a, b, &result);
    return checked(overflow, result);
  }
  if (op == 'p') {
    if (b >= 0) {
      return integer_power(a, b);
    }
    NIBBLE_CHECK(a != 0, "0 cannot be raised to a negative power");
    return Value::floating(std::pow(static_cast<double>(a), static_cast<double>(b)));
  }
  NIBBLE_CHECK(b != 0, "division by zero");
  if (op == '/') {
    return Value::floating(static_cast<double>(a) / static_cast<double>(b));
  }
  if (b == -1) {  // the one quotient that overflows
    return op == '%' ? Value::integer(0) : integer_arithmetic('-', 0, a);
  }
  const Integer quotient = floor_divide(a, b);
  return Value::integer(op == 'f' ? quotient : a - quotient * b);
}

double float_modulo(double a, double b) {
  double result = std::fmod(a, b);
  if (result != 0 && (result < 0) != (b < 0)) {
    result += b;
  } else if (result == 0) {
    result = std::copysign(0.0, b);
  }
  return result;
}

// CPython's float_floor_div: consistent with the remainder, not floor(a / b).
double float_floor_divide(double a, double b) {
  const double remainder = float_modulo(a, b);
  const double quotient = (a - remainder) / b;
  if (quotient == 0) {
    return std::copysign(0.0, a / b);
  }
  const double floored = std::floor(quotient);
  return quotient - floored > 0.5 ? floored + 1 : floored;
}

Value float_power(double a, double b) {
  NIBBLE_CHECK(a != 0 || b >= 0, "0.0 cannot be raised to a negative power");
  const double result = std::pow(a, b);
  NIBBLE_CHECK(!std::isnan(result) || std::isnan(a) || std::isnan(b),
               "a power with a complex result");
  NIBBLE_CHECK(!std::isinf(result) || std::isinf(a) || std::isinf(b), "a float is too large");
  return Value::floating(result);
}

Value float_arithmetic(char op, double a, double b) {
  switch (op) {
    case '+':
      return Value::floating(a + b);
    case '-':
      return Value::floating(a - b);
    case '*':
      return Value::floating(a * b);
    case 'p':
      return float_power(a, b);
    default:
      break;
  }
  NIBBLE_CHECK(b != 0, "float division by zero");
  switch (op) {
    case '/':
      return Value::floating(a / b);
    case 'f':
      return Value::floating(float_floor_divide(a, b));
    default:
      return Value::floating(float_modulo(a, b));
  }
}

bool is_sequence(const Value& value) { return value.is(Kind::kList) || value.is(Kind::kTuple); }

Value rebuild(Kind kind, std::vector<Value> items) {
  return kind == Kind::kList ? Value::list(std::move(items)) : Value::tuple(std::move(items));
}

Value concatenate(Budget& budget, const Value& a, const Value& b) {
  if (a.is(Kind::kString) && b.is(Kind::kString)) {
    const bool markup = is_markup(a) || is_markup(b);
    TextBuilder text(budget);
    for (const Value* part : {&a, &b}) {
      if (markup && !is_markup(*part)) {
        write_escaped(text, part->text());
      } else {
        text << part->text();
      }
    }
    return markup ? mark_safe(text.take()) : Value::string(text.take());
  }
  if (!is_sequence(a) || a.kind() != b.kind()) {
    fail_operands("+", a, b);
  }
  budget.allocate((a.items().size() + b.items().size()) * sizeof(Value));
  std::vector<Value> items = a.items();
  items.insert(items.end(), b.items().begin(), b.items().end());
  return rebuild(a.kind(), std::move(items));
}

Value repeat(Budget& budget, const Value& object, const Value& times) {
  const Integer wanted = std::max<Integer>(times.as_integer(), 0);
  const auto count = static_cast<size_t>(std::min<Integer>(wanted, Integer{1} << 40));
  if (object.is(Kind::kString)) {
    TextBuilder text(budget);
    text.repeat(object.text(), count);
    return Value::string(text.take());
  }
  std::vector<Value> items;
  for (size_t i = 0; !object.items().empty() && i < count; ++i) {
    budget.allocate(object.items().size() * sizeof(Value));
    items.insert(items.end(), object.items().begin(), object.items().end());
  }
  return rebuild(object.kind(), std::move(items));
}

bool contains_text(Budget& budget, const Value& text, const Value& item) {
  NIBBLE_CHECK(item.is(Kind::kString), "'in <string>' requires a string on the left, not ",
               type_name(item));
  budget.step(text.text().size() / 16);
  return find_text(text.text(), item.text()) != std::string::npos;
}

struct SliceBounds {
  int64_t start, stop, step, count;
};

// Python's slice.indices().
SliceBounds resolve_slice(int64_t length, const Value& start, const Value& stop,
                          const Value& step) {
  const auto clamp = [&](const Value& bound, int64_t absent, int64_t low, int64_t high) {
    if (bound.is(Kind::kNone)) {
      return absent;
    }
    NIBBLE_CHECK(bound.is_integral(), "slice indices must be integers or none, not ",
                 type_name(bound));
    Integer index = bound.as_integer();
    index = index < 0 ? index + length : index;
    return static_cast<int64_t>(std::clamp<Integer>(index, low, high));
  };
  constexpr int64_t kLimit = std::numeric_limits<int64_t>::max() / 2;
  NIBBLE_CHECK(step.is(Kind::kNone) || step.is_integral(),
               "slice indices must be integers or none, not ", type_name(step));
  const auto by = static_cast<int64_t>(
      step.is(Kind::kNone) ? 1 : std::clamp<Integer>(step.as_integer(), -kLimit, kLimit));
  NIBBLE_CHECK(by != 0, "slice step cannot be zero");
  const int64_t low = by < 0 ? -1 : 0, high = by < 0 ? length - 1 : length;
  const int64_t first = clamp(start, by < 0 ? high : low, low, high);
  const int64_t last = clamp(stop, by < 0 ? low : high, low, high);
  RangeObject positions;
  positions.start = first;
  positions.stop = last;
  positions.step = by;
  return {first, last, by, positions.length()};
}

Value slice_text(Budget& budget, const Value& object, const SliceBounds& bounds) {
  const std::string& text = object.text();
  budget.allocate(text.size());
  const auto first = static_cast<size_t>(std::max<int64_t>(bounds.start, 0));
  if (bounds.step == 1) {
    const size_t begin = byte_offset(text, first);
    const size_t bytes =
        byte_offset(std::string_view(text).substr(begin), static_cast<size_t>(bounds.count));
    return Value::string(text.substr(begin, bytes));
  }
  budget.step(text.size() / 2);
  const std::vector<char32_t> characters = decode(text);
  std::string out;
  for (int64_t i = 0; i < bounds.count; ++i) {
    append_code_point(out, characters[static_cast<size_t>(bounds.start + i * bounds.step)]);
  }
  return Value::string(std::move(out));
}

}  // namespace

int64_t to_index(const Value& value, std::string_view what) {
  require_defined(value);
  NIBBLE_CHECK(value.is_integral(), what, " must be an integer, not ", type_name(value));
  const Integer limit = std::numeric_limits<int64_t>::max();
  NIBBLE_CHECK(value.as_integer() <= limit && value.as_integer() >= -limit, what,
               " is too large: ", integer_text(value.as_integer()));
  return static_cast<int64_t>(value.as_integer());
}

Value apply_unary(char op, const Value& operand) {
  require_defined(operand);
  NIBBLE_CHECK(operand.is_number(), "bad operand type for unary ", op, ": '", type_name(operand),
               "'");
  if (operand.is(Kind::kFloat)) {
    return Value::floating(op == '-' ? -operand.as_float() : operand.as_float());
  }
  return op == '-' ? integer_arithmetic('-', 0, operand.as_integer())
                   : Value::integer(operand.as_integer());
}

Value apply_binary(Budget& budget, char op, const Value& left, const Value& right) {
  if (op == '%' && left.is(Kind::kString)) {
    return Value::string(percent_format(budget, left.text(), right));
  }
  if (left.is_number() && right.is_number()) {
    return left.is_integral() && right.is_integral()
               ? integer_arithmetic(op, left.as_integer(), right.as_integer())
               : float_arithmetic(op, left.as_float(), right.as_float());
  }
  if (op == '+') {
    return concatenate(budget, left, right);
  }
  const auto repeatable = [](const Value& value) {
    return value.is(Kind::kString) || is_sequence(value);
  };
  if (op == '*' && repeatable(left) && right.is_integral()) {
    return repeat(budget, left, right);
  }
  if (op == '*' && repeatable(right) && left.is_integral()) {
    return repeat(budget, right, left);
  }
  fail_operands(op == 'f' ? "//" : (op == 'p' ? "**" : std::string_view(&op, 1)), left, right);
}

bool contains(Budget& budget, const Value& container, const Value& item) {
  if (container.is(Kind::kString)) {
    return contains_text(budget, container, item);
  }
  if (container.is(Kind::kDict)) {
    NIBBLE_CHECK(hashable(item), "unhashable type: '", type_name(item), "'");
    return container.dict().find(budget, item) != nullptr;
  }
  NIBBLE_CHECK(is_iterable(container), "argument of type '", type_name(container),
               "' is not iterable");
  const auto next = iterate(container);
  while (const std::optional<Value> candidate = next()) {
    if (equals(budget, *candidate, item)) {
      return true;
    }
  }
  return false;
}

bool compare(Budget& budget, std::string_view op, const Value& left, const Value& right) {
  if (op == "in") return contains(budget, right, left);
  if (op == "not in") return !contains(budget, right, left);
  if (op == "==") return equals(budget, left, right);
  if (op == "!=") return !equals(budget, left, right);
  if (op == "<") return less(budget, left, right);
  if (op == ">") return less(budget, right, left);
  // Not the negation of the other order: NaN compares false both ways.
  const bool equal = equals(budget, left, right);
  return op == "<=" ? less(budget, left, right) || equal : less(budget, right, left) || equal;
}

Value slice(Budget& budget, const Value& object, const Value& start, const Value& stop,
            const Value& step) {
  require_defined(object);
  const bool sliceable = object.is(Kind::kString) || is_sequence(object) || object.is(Kind::kRange);
  NIBBLE_CHECK(sliceable, "a '", type_name(object), "' object cannot be sliced");
  const SliceBounds bounds = resolve_slice(*length(object), start, stop, step);
  if (object.is(Kind::kString)) {
    return slice_text(budget, object, bounds);
  }
  if (object.is(Kind::kRange)) {
    const RangeObject& range = object.range();
    return Value::range(range.at(bounds.start), range.at(bounds.stop), range.step * bounds.step);
  }
  budget.allocate(static_cast<size_t>(bounds.count) * sizeof(Value));
  std::vector<Value> items;
  for (int64_t i = 0; i < bounds.count; ++i) {
    items.push_back(object.items()[static_cast<size_t>(bounds.start + i * bounds.step)]);
  }
  return rebuild(object.kind(), std::move(items));
}

void set_item(Budget& budget, DictObject& dict, const Value& key, Value value) {
  NIBBLE_CHECK(hashable(key), "unhashable type: '", type_name(key), "'");
  budget.allocate(2 * sizeof(Value) + 64);
  dict.set(budget, key, std::move(value));
}

}  // namespace nibble::text::jinja
