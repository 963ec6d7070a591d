#include "recipe_value.h"

#include <nibble/core/error.h>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <optional>
#include <type_traits>

namespace nibble::train {
namespace {

template <class... Visitors>
struct Overloaded : Visitors... {
  using Visitors::operator()...;
};
template <class... Visitors>
Overloaded(Visitors...) -> Overloaded<Visitors...>;

bool equal_ignoring_case(std::string_view a, std::string_view b) {
  return lowercase(a) == lowercase(b);
}

template <class Number>
std::optional<Number> parse_number(std::string_view text) {
  if (text.starts_with('+')) {
    text.remove_prefix(1);
  }
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() && !text.empty()
             ? std::optional(value)
             : std::nullopt;
}

std::optional<int64_t> parse_integer(std::string_view text) {
  if (const auto value = parse_number<int64_t>(text)) {
    return value;
  }
  // 1e3 and 64.0 are integers too, as far as a double holds them exactly.
  const auto value = parse_number<double>(text);
  const bool exact = value && std::abs(*value) <= 0x1p53 && *value == std::floor(*value);
  return exact ? std::optional(static_cast<int64_t>(*value)) : std::nullopt;
}

/// True for a number that is larger or smaller than its type holds.
bool is_out_of_range(std::string_view text, bool integer) {
  double value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (end != text.data() + text.size() || text.empty()) return false;
  return error == std::errc::result_out_of_range ||
         (integer && error == std::errc() && std::abs(value) > 0x1p53);
}

std::optional<bool> parse_bool(std::string_view text) {
  const std::string word = lowercase(text);
  if (word == "true" || word == "yes" || word == "on") {
    return true;
  }
  if (word == "false" || word == "no" || word == "off") {
    return false;
  }
  return std::nullopt;
}

/// Reads one node into the member behind a key; each overload throws on a value of another type.
class Reader {
 public:
  Reader(const Key& key, const YamlNode& node, const std::string& written_path)
      : key_(key), node_(node), written_path_(written_path) {}

  void operator()(bool* member) const {
    const auto value = parse_bool(scalar());
    if (!value) {
      reject();
    }
    *member = *value;
  }
  void operator()(int64_t* member) const {
    const auto value = parse_integer(scalar());
    if (!value && is_out_of_range(node_.text, /*integer=*/true)) {
      reject(", which is out of range");
    }
    if (!value || !key_.range.contains(static_cast<double>(*value))) {
      reject();
    }
    *member = *value;
  }
  void operator()(double* member) const { *member = number(node_); }
  void operator()(std::string* member) const { *member = scalar(); }
  template <class Value>
  void operator()(std::optional<Value>* member) const {
    Value value{};
    (*this)(&value);
    *member = std::move(value);
  }
  void operator()(std::vector<std::string>* member) const {
    if (node_.is_scalar()) {
      *member = {node_.text};
      return;
    }
    std::vector<std::string> values;
    for (const YamlNode& item : sequence()) {
      if (!item.is_scalar()) {
        reject();
      }
      values.push_back(item.text);
    }
    *member = std::move(values);
  }
  void operator()(std::array<double, 2>* member) const {
    const std::vector<YamlNode>& items = sequence();
    if (items.size() != member->size()) {
      reject();
    }
    std::transform(items.begin(), items.end(), member->begin(),
                   [&](const YamlNode& item) { return number(item); });
  }
  void operator()(const Choice& choice) const {
    const std::string& text = scalar();
    for (const std::string_view spelling : {std::string_view(text), last_component(text)}) {
      for (const auto& [name, value] : choice.names) {
        if (equal_ignoring_case(name, spelling)) {
          return choice.set(value);
        }
      }
    }
    reject();
  }
  void operator()(const Fixed& fixed) const {
    const bool allowed =
        node_.is_scalar() &&
        std::any_of(fixed.allowed.begin(), fixed.allowed.end(), [&](const std::string& value) {
          return equal_ignoring_case(value, node_.text) ||
                 equal_ignoring_case(value, last_component(node_.text));
        });
    if (allowed) {
      return;
    }
    fail(node_.where, ": ", written_path_, ": ", key_.meaning, "; got ", node_.describe(), ", ",
         fixed.allowed.empty() ? "remove it" : "allowed: " + describe_type(key_));
  }
  void operator()(const Ignored&) const {}

 private:
  [[noreturn]] void reject(const char* reason = "") const {
    const bool is_alias = written_path_ != key_.path;
    fail(node_.where, ": ", written_path_, is_alias ? " (" + key_.path + ")" : "", ": expected ",
         describe_type(key_), ", got ", node_.describe(), reason);
  }

  const std::string& scalar() const {
    if (!node_.is_scalar()) {
      reject();
    }
    return node_.text;
  }
  const std::vector<YamlNode>& sequence() const {
    if (!node_.is_sequence()) {
      reject();
    }
    return node_.children;
  }
  double number(const YamlNode& node) const {
    const auto value = node.is_scalar() ? parse_number<double>(node.text) : std::nullopt;
    if (!value && node.is_scalar() && is_out_of_range(node.text, /*integer=*/false)) {
      reject(", which is out of range");
    }
    if (!value || !std::isfinite(*value) || !key_.range.contains(*value)) {
      reject();
    }
    return *value;
  }

  const Key& key_;
  const YamlNode& node_;
  const std::string& written_path_;
};

/// null: an optional member becomes empty, a choice named "none" is taken, the rest keep theirs.
void read_null(const Field& field) {
  std::visit(Overloaded{
                 [](std::optional<int64_t>* member) { member->reset(); },
                 [](std::optional<double>* member) { member->reset(); },
                 [](std::optional<std::string>* member) { member->reset(); },
                 [](const Choice& choice) {
                   if (choice.names.front().first == "none") {
                     choice.set(choice.names.front().second);
                   }
                 },
                 [](const auto&) {},
             },
             field);
}

std::string number_text(double value) {
  char buffer[32];
  const auto [end, error] = std::to_chars(buffer, buffer + sizeof(buffer), value);
  return {buffer, end};
}

std::string string_text(const std::string& value) {
  std::string escaped;
  for (size_t i = 0; i < value.size(); ++i) {
    escaped += value.compare(i, 2, "${") == 0 ? "$$" : std::string(1, value[i]);
  }
  return nlohmann::json(escaped).dump();
}

std::string choice_name(const Choice& choice) {
  const int value = choice.get();
  return std::find_if(choice.names.begin(), choice.names.end(),
                      [&](const auto& name) { return name.second == value; })
      ->first;
}

std::string join(const std::vector<std::string>& parts, std::string_view separator) {
  std::string result;
  for (const std::string& part : parts) {
    result.append(result.empty() ? "" : separator).append(part);
  }
  return result;
}

}  // namespace

bool Range::contains(double value) const {
  const bool above_low = excludes_low ? value > low : value >= low;
  const bool below_high = excludes_high ? value < high : value <= high;
  return value == also || (above_low && below_high);
}

std::string Range::describe() const {
  if (std::isinf(low)) {
    return "";
  }
  return std::isinf(high) ? (excludes_low ? "> " : ">= ") + number_text(low)
                          : std::string("in ") + (excludes_low ? "(" : "[") + number_text(low) +
                                ", " + number_text(high) + (excludes_high ? ")" : "]");
}

std::string_view last_component(std::string_view name) { return name.substr(name.rfind('.') + 1); }

std::string lowercase(std::string_view text) {
  std::string result(text);
  std::transform(result.begin(), result.end(), result.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return result;
}

void read_value(const Key& key, const YamlNode& node, const std::string& written_path) {
  if (node.is_null()) {
    read_null(key.field);
  } else {
    std::visit(Reader(key, node, written_path), key.field);
  }
}

std::string describe_type(const Key& key) {
  const std::string range = key.range.describe();
  const auto ranged = [&](const std::string& type) {
    const bool positive = range == "> 0" || (range == ">= 1" && type == "integer");
    const std::string also = key.range.also ? " or " + number_text(*key.range.also) : "";
    return (positive ? "positive " + type : range.empty() ? type : type + " " + range) + also;
  };
  return std::visit(
      Overloaded{
          [](bool*) -> std::string { return "true | false"; },
          [&](int64_t*) { return ranged("integer"); },
          [&](std::optional<int64_t>*) { return ranged("integer") + " or null"; },
          [&](double*) { return ranged("number"); },
          [&](std::optional<double>*) { return ranged("number") + " or null"; },
          [](std::string*) -> std::string { return "string"; },
          [](std::optional<std::string>*) -> std::string { return "string or null"; },
          [](std::vector<std::string>*) -> std::string { return "string or list of strings"; },
          [&](std::array<double, 2>*) { return "list of two numbers " + range; },
          [](const Choice& choice) {
            std::vector<std::string> names;
            std::vector<int> values;
            for (const auto& [name, value] : choice.names) {
              if (std::find(values.begin(), values.end(), value) == values.end()) {
                values.push_back(value);
                names.push_back(name);
              }
            }
            return join(names, " | ");
          },
          [](const Fixed& fixed) {
            return fixed.allowed.empty() ? "null" : join(fixed.allowed, " | ");
          },
          [](const Ignored&) -> std::string { return "any"; },
      },
      key.field);
}

std::string describe_value(const Field& field) {
  return std::visit(
      Overloaded{
          [](const bool* value) -> std::string { return *value ? "true" : "false"; },
          [](const int64_t* value) { return std::to_string(*value); },
          [](const double* value) { return number_text(*value); },
          [](const std::string* value) { return string_text(*value); },
          [](const std::optional<int64_t>* value) {
            return *value ? std::to_string(**value) : "null";
          },
          [](const std::optional<double>* value) { return *value ? number_text(**value) : "null"; },
          [](const std::optional<std::string>* value) {
            return *value ? string_text(**value) : "null";
          },
          [](const std::vector<std::string>* values) {
            std::vector<std::string> quoted;
            std::transform(values->begin(), values->end(), std::back_inserter(quoted), string_text);
            return "[" + join(quoted, ", ") + "]";
          },
          [](const std::array<double, 2>* values) {
            return detail::concat("[", number_text((*values)[0]), ", ", number_text((*values)[1]),
                                  "]");
          },
          [](const Choice& choice) { return choice_name(choice); },
          [](const Fixed&) -> std::string { return "null"; },
          [](const Ignored&) -> std::string { return "null"; },
      },
      field);
}

}  // namespace nibble::train
