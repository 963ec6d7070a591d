#include "jinja_json.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

#include "jinja_operators.h"
#include "jinja_strings.h"

namespace nibble::text::jinja {
namespace {

Value checked_string(const std::string& text) {
  NIBBLE_CHECK(!find_ill_formed(text),
               "a string given to the template is not UTF-8: ", text.substr(0, 40));
  return Value::string(text);
}

Value convert(const nlohmann::ordered_json& json, int depth) {
  NIBBLE_CHECK(depth < kMaxValueDepth - 2, "a value given to the template nests deeper than ",
               kMaxValueDepth - 2, " levels");
  switch (json.type()) {
    case nlohmann::ordered_json::value_t::boolean:
      return Value::boolean(json.get<bool>());
    case nlohmann::ordered_json::value_t::number_integer:
      return Value::integer(json.get<int64_t>());
    case nlohmann::ordered_json::value_t::number_unsigned:
      return Value::integer(json.get<uint64_t>());
    case nlohmann::ordered_json::value_t::number_float:
      return Value::floating(json.get<double>());
    case nlohmann::ordered_json::value_t::string:
      return checked_string(json.get_ref<const std::string&>());
    case nlohmann::ordered_json::value_t::array: {
      std::vector<Value> items;
      items.reserve(json.size());
      for (const auto& item : json) {
        items.push_back(convert(item, depth + 1));
      }
      return Value::list(std::move(items));
    }
    case nlohmann::ordered_json::value_t::object: {
      auto dict = std::make_shared<DictObject>();
      for (const auto& [key, value] : json.items()) {
        dict->set(checked_string(key), convert(value, depth + 1));
      }
      return Value::dict(std::move(dict));
    }
    default:
      return Value::none();
  }
}

class JsonWriter {
 public:
  JsonWriter(Budget& budget, const JsonStyle& style)
      : budget_(budget), out_(budget), style_(style) {}

  std::string run(const Value& value) {
    write(value, 1);
    return out_.take();
  }

 private:
  void write(const Value& value, size_t level) {
    switch (value.kind()) {
      case Kind::kString:
        write_string(value.text());
        break;
      case Kind::kList:
      case Kind::kTuple:
        write_array(value.items(), level);
        break;
      case Kind::kDict:
        write_object(value.dict(), level);
        break;
      default:
        out_ << scalar(value);
    }
  }

  std::string scalar(const Value& value) const {
    switch (value.kind()) {
      case Kind::kNone:
        return "null";
      case Kind::kBool:
        return value.as_integer() != 0 ? "true" : "false";
      case Kind::kInteger:
        return integer_text(value.as_integer());
      case Kind::kFloat: {
        const double number = value.as_float();
        return std::isnan(number)   ? "NaN"
               : std::isinf(number) ? (number < 0 ? "-Infinity" : "Infinity")
                                    : float_repr(number);
      }
      default:
        fail("a '", type_name(value), "' object cannot be written as JSON");
    }
  }

  void new_line(size_t level) {
    if (style_.indent) {
      out_ << "\n";
      out_.repeat(*style_.indent, level);
    }
  }

  void separate(bool first, size_t level) {
    if (!first) {
      out_ << style_.item_separator;
    }
    new_line(level);
  }

  void write_array(const std::vector<Value>& items, size_t level) {
    out_ << "[";
    for (size_t i = 0; i < items.size(); ++i) {
      separate(i == 0, level);
      write(items[i], level + 1);
    }
    if (!items.empty()) {
      new_line(level - 1);
    }
    out_ << "]";
  }

  void write_object(const DictObject& dict, size_t level) {
    std::vector<const std::pair<Value, Value>*> entries;
    for (const auto& entry : dict.items) {
      entries.push_back(&entry);
    }
    if (style_.sort_keys) {
      std::stable_sort(entries.begin(), entries.end(), [this](const auto* a, const auto* b) {
        return less(budget_, a->first, b->first);
      });
    }
    out_ << "{";
    for (size_t i = 0; i < entries.size(); ++i) {
      separate(i == 0, level);
      write_key(entries[i]->first);
      out_ << style_.key_separator;
      write(entries[i]->second, level + 1);
    }
    if (!entries.empty()) {
      new_line(level - 1);
    }
    out_ << "}";
  }

  void write_key(const Value& key) {
    NIBBLE_CHECK(key.is(Kind::kString) || key.is(Kind::kNone) || key.is_number(),
                 "keys must be str, int, float, bool or None, not ", type_name(key));
    write_string(key.is(Kind::kString) ? key.text() : scalar(key));
  }

  void write_string(std::string_view text) {
    out_ << "\"";
    size_t copied = 0;
    for (size_t at = 0; at < text.size();) {
      const char32_t c = code_point_at(text, at);
      const size_t bytes = code_point_bytes(text, at);
      if (c < 0x20 || c == U'"' || c == U'\\' || (style_.ensure_ascii && c >= 0x7F)) {
        out_ << text.substr(copied, at - copied);
        write_escape(c);
        copied = at + bytes;
      }
      at += bytes;
    }
    out_ << text.substr(copied);
    out_ << "\"";
  }

  void write_escape(char32_t c) {
    static constexpr std::string_view kFrom = "\"\\\n\r\t\f\b", kTo = "\"\\nrtfb";
    const size_t simple = c < 0x80 ? kFrom.find(static_cast<char>(c)) : std::string_view::npos;
    if (simple != std::string_view::npos) {
      out_ << "\\" << kTo.substr(simple, 1);
    } else if (c >= 0x10000) {
      write_unit(0xD800 + ((c - 0x10000) >> 10));
      write_unit(0xDC00 + ((c - 0x10000) & 0x3FF));
    } else {
      write_unit(c);
    }
  }

  void write_unit(char32_t unit) {
    std::array<char, 16> escape;
    std::snprintf(escape.data(), escape.size(), "\\u%04x", static_cast<unsigned>(unit));
    out_ << escape.data();
  }

  Budget& budget_;
  TextBuilder out_;
  const JsonStyle& style_;
};

}  // namespace

Value from_json(const nlohmann::ordered_json& json) { return convert(json, 0); }

std::string to_json(Budget& budget, const Value& value, const JsonStyle& style) {
  return JsonWriter(budget, style).run(value);
}

}  // namespace nibble::text::jinja
