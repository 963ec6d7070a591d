#include "jinja_string_literal.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>

#include "jinja_lexer.h"
#include "jinja_strings.h"

namespace nibble::text::jinja {
namespace {

int digit_value(char c) {
  if (c >= '0' && c <= '9') {
    return c - '0';
  }
  const char lower = static_cast<char>(c | 0x20);
  return lower >= 'a' && lower <= 'z' ? lower - 'a' + 10 : 99;
}

// Reads up to `most` digits of `base` at `at` and moves behind them.
char32_t read_digits(std::string_view text, size_t& at, size_t most, int base) {
  char32_t value = 0;
  for (size_t i = 0; i < most && at < text.size() && digit_value(text[at]) < base; ++i, ++at) {
    value = value * static_cast<char32_t>(base) + static_cast<char32_t>(digit_value(text[at]));
  }
  return value;
}

void append_escaped_code(std::string& out, std::string_view text, size_t& at, size_t digits,
                         int line) {
  const size_t begin = at;
  const char32_t c = read_digits(text, at, digits, 16);
  if (at - begin != digits) {
    fail_at(line, "truncated escape in a string");
  }
  if (c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF)) {
    fail_at(line, "a string escape is not a Unicode character");
  }
  append_code_point(out, c);
}

// What Jinja's detour over ASCII makes of a backslash before a character outside ASCII.
void append_backslash_and_code(std::string& out, char32_t c) {
  std::array<char, 12> code;
  std::snprintf(code.data(), code.size(), c < 0x100 ? "x%02x" : (c < 0x10000 ? "u%04x" : "U%08x"),
                static_cast<unsigned>(c));
  out += '\\';
  out += code.data();
}

// `at` stands behind the backslash.
void append_escape(std::string& out, std::string_view text, size_t& at, int line) {
  static constexpr std::string_view kFrom = "\\'\"abfnrtv", kTo = "\\'\"\a\b\f\n\r\t\v";
  const char c = text[at];
  if (const size_t simple = kFrom.find(c); simple != std::string_view::npos) {
    out += kTo[simple];
    ++at;
  } else if (c == '\n') {
    ++at;
  } else if (c >= '0' && c <= '7') {
    append_code_point(out, read_digits(text, at, 3, 8));
  } else if (c == 'x' || c == 'u' || c == 'U') {
    append_escaped_code(out, text, ++at, c == 'x' ? 2 : (c == 'u' ? 4 : 8), line);
  } else if (c == 'N') {
    fail_at(line, "\\N{...} escapes are not supported in strings");
  } else if (static_cast<unsigned char>(c) >= 0x80) {
    append_backslash_and_code(out, code_point_at(text, at));
    at += code_point_bytes(text, at);
  } else {
    out += '\\';
    out += c;
    ++at;
  }
}

// Drops the underscores that stand between two digits; nothing where one stands elsewhere.
std::optional<std::string> without_underscores(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '_') {
      out += text[i];
    } else if (i == 0 || i + 1 == text.size() || digit_value(text[i - 1]) > 35 ||
               digit_value(text[i + 1]) > 35) {
      return std::nullopt;
    }
  }
  return out;
}

// Takes "0x", "0o" or "0b" off where `base` allows it.
bool take_prefix(std::string_view& text, int& base) {
  if (text.size() > 1 && text[0] == '0') {
    const char mark = static_cast<char>(text[1] | 0x20);
    const int marked = mark == 'x' ? 16 : (mark == 'o' ? 8 : (mark == 'b' ? 2 : 0));
    if (marked != 0 && (base == 0 || base == marked)) {
      base = marked;
      text.remove_prefix(text.size() > 2 && text[2] == '_' ? 3 : 2);
      return true;
    }
  }
  return false;
}

}  // namespace

std::string decode_string_literal(std::string_view text, int line) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    if (text[at] == '\\' && at + 1 < text.size()) {
      append_escape(out, text, ++at, line);
    } else {
      out += text[at++];
    }
  }
  return out;
}

std::optional<Integer> parse_integer(std::string_view text, int base) {
  text = strip(text);
  const bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) {
    text.remove_prefix(1);
  }
  const bool prefixed = take_prefix(text, base);
  if (base == 0) {
    base = 10;
    if (text.starts_with('0') && text.find_first_not_of("0_") != std::string_view::npos) {
      return std::nullopt;  // 010 means nothing in Python 3
    }
  }
  const std::optional<std::string> digits = without_underscores(text);
  if (!digits || digits->empty() || (prefixed && digits->empty())) {
    return std::nullopt;
  }
  Integer value = 0;
  for (const char c : *digits) {
    Integer scaled = 0;
    if (digit_value(c) >= base || __builtin_mul_overflow(value, Integer{base}, &scaled) ||
        __builtin_add_overflow(scaled, Integer{digit_value(c)}, &value)) {
      return std::nullopt;
    }
  }
  return negative ? -value : value;
}

std::optional<double> parse_float(std::string_view text) {
  const std::optional<std::string> digits = without_underscores(strip(text));
  if (!digits || digits->empty() ||
      digits->find_first_of("xXpP(") != std::string::npos) {  // strtod's hexadecimal and nan(...)
    return std::nullopt;
  }
  char* end = nullptr;
  const double value = std::strtod(digits->c_str(), &end);
  if (end != digits->c_str() + digits->size()) {
    return std::nullopt;
  }
  return value;
}

}  // namespace nibble::text::jinja
