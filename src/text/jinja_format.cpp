#include "jinja_format.h"

#include <array>
#include <cmath>
#include <cstdio>
#include <vector>

#include "jinja_strings.h"

namespace nibble::text::jinja {
namespace {

constexpr int kMaxPrecision = 100;
constexpr size_t kMaxWidth = size_t{1} << 20;

struct Specification {
  bool left = false, zero = false, alternate = false, grouped = false;
  char sign = '-';  // '-', '+' or ' '
  char align = 0;   // '<', '>', '^', '='; 0: by type
  std::string fill = " ";
  size_t width = 0;
  int precision = -1;
  char type = 0;
};

size_t read_number(std::string_view text, size_t& at, size_t limit) {
  size_t value = 0;
  for (; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at) {
    value = value * 10 + static_cast<size_t>(text[at] - '0');
    NIBBLE_CHECK(value <= limit, "a format asks for more than ", limit, " characters");
  }
  return value;
}

std::string integer_digits(Integer value, unsigned base) {
  const bool negative = value < 0;
  std::string digits;
  for (Integer rest = value; rest != 0 || digits.empty(); rest /= static_cast<int>(base)) {
    const int digit = static_cast<int>(rest % static_cast<int>(base));
    digits.insert(digits.begin(), "0123456789abcdef"[negative ? -digit : digit]);
  }
  return digits;
}

std::string float_digits(double magnitude, char type, int precision, bool alternate) {
  if (std::isinf(magnitude) || std::isnan(magnitude)) {
    const bool upper = type == 'F' || type == 'E' || type == 'G';
    return std::isnan(magnitude) ? (upper ? "NAN" : "nan") : (upper ? "INF" : "inf");
  }
  const std::array<char, 7> format = {'%',
                                      alternate ? '#' : '.',
                                      alternate ? '.' : '*',
                                      alternate ? '*' : type,
                                      alternate ? type : '\0',
                                      '\0',
                                      '\0'};
  std::array<char, 512> buffer;
  const int size = std::snprintf(buffer.data(), buffer.size(), format.data(), precision, magnitude);
  return {buffer.data(), static_cast<size_t>(size)};
}

void group_thousands(std::string& digits) {
  const size_t whole = std::min(digits.find_first_not_of("0123456789"), digits.size());
  for (size_t at = whole; at > 3; at -= 3) {
    digits.insert(at - 3, ",");
  }
}

std::string sign_text(bool negative, char sign) {
  return negative ? "-" : (sign == '-' ? "" : std::string(1, sign));
}

std::string pad(const std::string& prefix, const std::string& body, const Specification& spec,
                char default_align) {
  const size_t length = count_code_points(prefix) + count_code_points(body);
  const size_t missing = spec.width > length ? spec.width - length : 0;
  const char align = spec.align != 0 ? spec.align : default_align;
  const auto filled = [&](size_t count) {
    std::string out;
    for (size_t i = 0; i < count; ++i) {
      out += spec.fill;
    }
    return out;
  };
  switch (align) {
    case '<':
      return prefix + body + filled(missing);
    case '^':
      return filled(missing / 2) + prefix + body + filled(missing - missing / 2);
    case '=':
      return prefix + filled(missing) + body;
    default:
      return filled(missing) + prefix + body;
  }
}

std::string format_integer(Integer value, const Specification& spec) {
  const char type = spec.type == 0 ? 'd' : spec.type;
  if (type == 'c') {
    NIBBLE_CHECK(value >= 0 && value <= 0x10FFFF && !(value >= 0xD800 && value <= 0xDFFF),
                 "%c needs a character code");
    std::string character;
    append_code_point(character, static_cast<char32_t>(value));
    return pad("", character, spec, '<');
  }
  const unsigned base =
      type == 'x' || type == 'X' ? 16 : (type == 'o' ? 8 : (type == 'b' ? 2 : 10));
  std::string digits = integer_digits(value, base);
  if (spec.grouped) {
    group_thousands(digits);
  }
  if (spec.precision > static_cast<int>(digits.size())) {
    digits.insert(0, static_cast<size_t>(spec.precision) - digits.size(), '0');
  }
  std::string prefix = sign_text(value < 0, spec.sign);
  if (spec.alternate && base != 10) {
    prefix += std::string("0") + type;
  }
  if (type == 'X') {
    digits = to_upper(digits);
  }
  return pad(prefix, digits, spec, '>');
}

std::string format_float(double value, const Specification& spec) {
  const bool percent = spec.type == '%';
  const char type = percent ? 'f' : spec.type;
  const double magnitude = std::fabs(percent ? value * 100 : value);
  std::string digits =
      type == 0
          ? float_repr(magnitude)
          : float_digits(magnitude, type, spec.precision < 0 ? 6 : spec.precision, spec.alternate);
  if (spec.grouped) {
    group_thousands(digits);
  }
  const bool negative = std::signbit(value) && !std::isnan(value);
  return pad(sign_text(negative, spec.sign), digits + (percent ? "%" : ""), spec, '>');
}

std::string format_text(std::string_view text, const Specification& spec, char default_align) {
  if (spec.precision >= 0) {
    text = text.substr(0, byte_offset(text, static_cast<size_t>(spec.precision)));
  }
  return pad("", std::string(text), spec, default_align);
}

class PercentFormatter {
 public:
  PercentFormatter(Budget& budget, std::string_view format, const Value& value)
      : out_(budget), budget_(budget), format_(format), value_(value) {}

  std::string run() {
    while (at_ < format_.size()) {
      const size_t percent = std::min(format_.find('%', at_), format_.size());
      out_ << format_.substr(at_, percent - at_);
      at_ = percent + 1;
      if (percent < format_.size()) {
        write_conversion();
      }
    }
    const bool all_used = used_ == (value_.is(Kind::kTuple) ? value_.items().size() : size_t{1});
    NIBBLE_CHECK(all_used || value_.is(Kind::kDict) || (value_.is(Kind::kList) && used_ == 0),
                 "not all arguments were converted during string formatting");
    return out_.take();
  }

 private:
  const Value& next() {
    if (value_.is(Kind::kTuple)) {
      NIBBLE_CHECK(used_ < value_.items().size(), "not enough arguments for the format string");
      return value_.items()[used_++];
    }
    NIBBLE_CHECK(used_ == 0, "not enough arguments for the format string");
    ++used_;
    return value_;
  }

  const Value& named() {
    const size_t end = format_.find(')', at_);
    NIBBLE_CHECK(end != std::string_view::npos, "incomplete format key");
    NIBBLE_CHECK(value_.is(Kind::kDict), "a format with %(name) needs a mapping");
    const std::string name(format_.substr(at_ + 1, end - at_ - 1));
    const Value* found = value_.dict().find(name);
    NIBBLE_CHECK(found != nullptr, "the format's key '", name, "' is not in the mapping");
    at_ = end + 1;
    return *found;
  }

  Specification read_flags() {
    Specification spec;
    for (; at_ < format_.size(); ++at_) {
      switch (format_[at_]) {
        case '-':
          spec.left = true;
          continue;
        case '0':
          spec.zero = true;
          continue;
        case '#':
          spec.alternate = true;
          continue;
        case '+':
          spec.sign = '+';
          continue;
        case ' ':
          spec.sign = spec.sign == '+' ? '+' : ' ';
          continue;
        default:
          break;
      }
      break;
    }
    spec.width = read_number(format_, at_, kMaxWidth);
    if (at_ < format_.size() && format_[at_] == '.') {
      spec.precision = static_cast<int>(read_number(format_, ++at_, kMaxPrecision));
    }
    spec.align = spec.left ? '<' : 0;
    return spec;
  }

  void write_conversion() {
    const Value* given = at_ < format_.size() && format_[at_] == '(' ? &named() : nullptr;
    Specification spec = read_flags();
    while (at_ < format_.size() &&
           std::string_view("hlL").find(format_[at_]) != std::string::npos) {
      ++at_;
    }
    NIBBLE_CHECK(at_ < format_.size(), "incomplete format");
    spec.type = format_[at_++];
    if (spec.type == '%') {
      out_ << "%";
      return;
    }
    write_value(given != nullptr ? *given : next(), spec);
  }

  void write_value(const Value& value, Specification spec) {
    static constexpr std::string_view kIntegers = "diuxXoc", kFloats = "eEfFgG";
    if (spec.type == 's' || spec.type == 'r') {
      out_ << format_text(spec.type == 's' ? to_str(budget_, value) : to_repr(budget_, value), spec,
                          '>');
      return;
    }
    if (spec.type == 'c' && value.is(Kind::kString)) {
      NIBBLE_CHECK(value.text_length() == 1, "%c needs one character");
      out_ << format_text(value.text(), spec, '>');
      return;
    }
    const bool integer = kIntegers.find(spec.type) != std::string_view::npos;
    NIBBLE_CHECK(integer || kFloats.find(spec.type) != std::string_view::npos,
                 "unsupported format character '", std::string(1, spec.type), "'");
    NIBBLE_CHECK(value.is_number(), "%", std::string(1, spec.type),
                 " format: a number is needed, not ", type_name(value));
    if (spec.zero && !spec.left) {
      spec.fill = "0";
      spec.align = '=';
    }
    if (!integer) {
      out_ << format_float(value.as_float(), spec);
      return;
    }
    const bool decimal = spec.type == 'd' || spec.type == 'i' || spec.type == 'u';
    NIBBLE_CHECK(decimal || value.is_integral(), "%", std::string(1, spec.type),
                 " format: an integer is needed, not ", type_name(value));
    spec.type = decimal ? 'd' : spec.type;
    const double real = value.as_float();
    NIBBLE_CHECK(value.is_integral() || std::fabs(real) < 1e37, "%d format: ", real,
                 " does not fit");
    out_ << format_integer(value.is_integral() ? value.as_integer() : static_cast<Integer>(real),
                           spec);
  }

  TextBuilder out_;
  Budget& budget_;
  std::string_view format_;
  const Value& value_;
  size_t at_ = 0;
  size_t used_ = 0;
};

bool is_alignment(char c) { return c == '<' || c == '>' || c == '^' || c == '='; }

Specification parse_specification(std::string_view text) {
  Specification spec;
  size_t at = 0;
  const size_t first = text.empty() ? 0 : code_point_bytes(text, 0);
  if (first < text.size() && is_alignment(text[first])) {
    spec.fill = text.substr(0, first);
    spec.align = text[first];
    at = first + 1;
  } else if (!text.empty() && is_alignment(text[0])) {
    spec.align = text[at++];
  }
  if (at < text.size() && (text[at] == '+' || text[at] == '-' || text[at] == ' ')) {
    spec.sign = text[at++];
  }
  if (at < text.size() && text[at] == '#') {
    spec.alternate = ++at != 0;
  }
  if (at < text.size() && text[at] == '0') {
    spec.zero = ++at != 0;
  }
  spec.width = read_number(text, at, kMaxWidth);
  if (at < text.size() && text[at] == ',') {
    spec.grouped = ++at != 0;
  }
  if (at < text.size() && text[at] == '.') {
    spec.precision = static_cast<int>(read_number(text, ++at, kMaxPrecision));
  }
  if (at < text.size()) {
    spec.type = text[at++];
  }
  NIBBLE_CHECK(at == text.size(), "invalid format specification '", text, "'");
  if (spec.zero && spec.align == 0) {
    spec.fill = "0";
    spec.align = '=';
  }
  return spec;
}

}  // namespace

std::string percent_format(Budget& budget, std::string_view format, const Value& value) {
  return PercentFormatter(budget, format, value).run();
}

std::string format_value(Budget& budget, const Value& value, std::string_view specification) {
  if (specification.empty()) {
    return to_str(budget, value);
  }
  Specification spec = parse_specification(specification);
  budget.allocate(spec.width * spec.fill.size());
  const auto supports = [&](std::string_view types) {
    NIBBLE_CHECK(spec.type == 0 || types.find(spec.type) != std::string_view::npos,
                 "unknown format code '", std::string(1, spec.type), "' for a ", type_name(value));
  };
  if (value.is(Kind::kString)) {
    supports("s");
    NIBBLE_CHECK(spec.align != '=', "'=' alignment is not allowed for a string");
    return format_text(value.text(), spec, '<');
  }
  NIBBLE_CHECK(value.is_number(), "unsupported format for a ", type_name(value));
  const bool real = value.is(Kind::kFloat) ||
                    std::string_view("eEfFgG%").find(spec.type) != std::string_view::npos;
  if (real && spec.type != 0) {
    supports("eEfFgG%");
    return format_float(value.as_float(), spec);
  }
  NIBBLE_CHECK(spec.precision < 0, "a precision needs a format code here");
  supports("bcdoxX");
  return value.is(Kind::kFloat) ? format_float(value.as_float(), spec)
                                : format_integer(value.as_integer(), spec);
}

}  // namespace nibble::text::jinja
