#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>

#include "jinja_strings.h"
#include "jinja_value.h"

namespace nibble::text::jinja {
namespace {

void write_items(TextBuilder& out, const std::vector<Value>& items) {
  for (size_t i = 0; i < items.size(); ++i) {
    out << (i == 0 ? "" : ", ");
    write_repr(out, items[i]);
  }
}

void write_dict(TextBuilder& out, const DictObject& dict) {
  out << "{";
  for (size_t i = 0; i < dict.items.size(); ++i) {
    out << (i == 0 ? "" : ", ");
    write_repr(out, dict.items[i].first);
    out << ": ";
    write_repr(out, dict.items[i].second);
  }
  out << "}";
}

void write_range(TextBuilder& out, const RangeObject& range) {
  out << "range(" << integer_text(range.start) << ", " << integer_text(range.stop);
  if (range.step != 1) {
    out << ", " << integer_text(range.step);
  }
  out << ")";
}

// The digits and the decimal exponent of the shortest text that reads back as `value`.
std::pair<std::string, int> shortest_digits(double value) {
  std::array<char, 32> buffer;
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), std::fabs(value),
                                 std::chars_format::scientific);
  const std::string text(buffer.data(), end.ptr);
  const size_t e = text.find('e');
  std::string digits = text.substr(0, e);
  std::erase(digits, '.');
  return {digits, std::stoi(text.substr(e + 1))};
}

}  // namespace

std::string integer_text(Integer value) {
  if (value == 0) {
    return "0";
  }
  std::string digits;
  for (Integer rest = value; rest != 0; rest /= 10) {
    const int digit = static_cast<int>(rest % 10);
    digits += static_cast<char>('0' + (digit < 0 ? -digit : digit));
  }
  if (value < 0) {
    digits += '-';
  }
  std::reverse(digits.begin(), digits.end());
  return digits;
}

// Python's repr: shortest digits, an exponent below 1e-4 and from 1e16 up.
std::string float_repr(double value) {
  if (std::isnan(value)) {
    return "nan";
  }
  const std::string sign = std::signbit(value) ? "-" : "";
  if (std::isinf(value)) {
    return sign + "inf";
  }
  auto [digits, exponent] = shortest_digits(value);
  if (exponent < -4 || exponent >= 16) {
    std::array<char, 16> suffix;
    std::snprintf(suffix.data(), suffix.size(), "e%c%02d", exponent < 0 ? '-' : '+',
                  std::abs(exponent));
    return sign + digits[0] + (digits.size() > 1 ? "." + digits.substr(1) : "") + suffix.data();
  }
  if (exponent < 0) {
    return sign + "0." + std::string(static_cast<size_t>(-exponent - 1), '0') + digits;
  }
  const size_t whole = static_cast<size_t>(exponent) + 1;
  if (digits.size() < whole) {
    digits.append(whole - digits.size(), '0');
  }
  return sign + digits.substr(0, whole) + "." +
         (digits.size() > whole ? digits.substr(whole) : "0");
}

std::string string_repr(std::string_view text) {
  const bool double_quoted =
      text.find('\'') != std::string_view::npos && text.find('"') == std::string_view::npos;
  const char quote = double_quoted ? '"' : '\'';
  std::string out(1, quote);
  for (size_t at = 0; at < text.size();) {
    const size_t bytes = code_point_bytes(text, at);
    const char32_t c = code_point_at(text, at);
    if (c == U'\\' || c == static_cast<char32_t>(quote)) {
      out += '\\';
      out += static_cast<char>(c);
    } else if (c == U'\n') {
      out += "\\n";
    } else if (c == U'\r') {
      out += "\\r";
    } else if (c == U'\t') {
      out += "\\t";
    } else if (is_printable(c)) {
      out += text.substr(at, bytes);
    } else {
      std::array<char, 12> escape;
      std::snprintf(escape.data(), escape.size(),
                    c < 0x100 ? "\\x%02x" : (c < 0x10000 ? "\\u%04x" : "\\U%08x"),
                    static_cast<unsigned>(c));
      out += escape.data();
    }
    at += bytes;
  }
  out += quote;
  return out;
}

void write_repr(TextBuilder& out, const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
      out << "Undefined";
      break;
    case Kind::kNone:
      out << "None";
      break;
    case Kind::kBool:
      out << (value.as_integer() != 0 ? "True" : "False");
      break;
    case Kind::kInteger:
      out << integer_text(value.as_integer());
      break;
    case Kind::kFloat:
      out << float_repr(value.as_float());
      break;
    case Kind::kString:
      out << string_repr(value.text());
      break;
    case Kind::kList:
      out << "[";
      write_items(out, value.items());
      out << "]";
      break;
    case Kind::kTuple:
      out << "(";
      write_items(out, value.items());
      out << (value.items().size() == 1 ? ",)" : ")");
      break;
    case Kind::kView:
      out << value.as<SequenceObject>().view_name << "([";
      write_items(out, value.items());
      out << "])";
      break;
    case Kind::kDict:
      write_dict(out, value.dict());
      break;
    case Kind::kRange:
      write_range(out, value.range());
      break;
    default:
      // Python prints an address here; no template can mean that.
      fail("a '", type_name(value), "' object cannot be printed");
  }
}

void write_str(TextBuilder& out, const Value& value) {
  if (value.is(Kind::kString)) {
    out << value.text();
  } else if (!value.is_undefined()) {
    write_repr(out, value);
  }
}

Value mark_safe(std::string text) {
  Value value = Value::string(std::move(text));
  value.as<StringObject>().is_markup = true;
  return value;
}

bool is_markup(const Value& value) {
  return value.is(Kind::kString) && value.as<StringObject>().is_markup;
}

void write_escaped(TextBuilder& out, std::string_view text) {
  static constexpr std::string_view kSpecial = "&<>'\"";
  static constexpr std::string_view kEscapes[] = {"&amp;", "&lt;", "&gt;", "&#39;", "&#34;"};
  while (!text.empty()) {
    const size_t plain = std::min(text.find_first_of(kSpecial), text.size());
    out << text.substr(0, plain);
    if (plain < text.size()) {
      out << kEscapes[kSpecial.find(text[plain])];
    }
    text.remove_prefix(std::min(plain + 1, text.size()));
  }
}

std::string to_str(Budget& budget, const Value& value) {
  TextBuilder out(budget);
  write_str(out, value);
  return out.take();
}

std::string to_repr(Budget& budget, const Value& value) {
  TextBuilder out(budget);
  write_repr(out, value);
  return out.take();
}

}  // namespace nibble::text::jinja
