#include <algorithm>

#include "jinja_format.h"
#include "jinja_interpreter.h"
#include "jinja_string_literal.h"

namespace nibble::text::jinja {
namespace {

/// str.format: {}, {0}, {name}, {name.attribute[key]!r:specification}.
class BraceFormatter {
 public:
  BraceFormatter(Interpreter& interpreter, const Arguments& arguments)
      : interpreter_(interpreter), arguments_(arguments), out_(interpreter.budget()) {}

  std::string run(std::string_view format) {
    for (size_t at = 0; at < format.size();) {
      const size_t brace = std::min(format.find_first_of("{}", at), format.size());
      out_ << format.substr(at, brace - at);
      at = brace;
      if (brace < format.size()) {
        at = write_brace(format, brace);
      }
    }
    return out_.take();
  }

 private:
  size_t write_brace(std::string_view format, size_t at) {
    if (at + 1 < format.size() && format[at + 1] == format[at]) {
      out_ << format.substr(at, 1);
      return at + 2;
    }
    NIBBLE_CHECK(format[at] == '{', "a single '}' in the format string");
    const size_t end = format.find_first_of("{}", at + 1);
    NIBBLE_CHECK(end != std::string_view::npos, "expected '}' in the format string");
    NIBBLE_CHECK(format[end] == '}', "nested fields in a format string are not supported");
    write_field(format.substr(at + 1, end - at - 1));
    return end + 1;
  }

  void write_field(std::string_view field) {
    const size_t colon = std::min(field.find(':'), field.size());
    std::string_view name = field.substr(0, colon);
    const std::string_view specification =
        colon < field.size() ? field.substr(colon + 1) : std::string_view();
    char conversion = 0;
    if (const size_t mark = name.find('!'); mark != std::string_view::npos) {
      NIBBLE_CHECK(name.size() == mark + 2 && (name[mark + 1] == 's' || name[mark + 1] == 'r'),
                   "unknown conversion in the format field '", field, "'");
      conversion = name[mark + 1];
      name = name.substr(0, mark);
    }
    Value value = resolve(name);
    if (conversion != 0) {
      value = Value::string(conversion == 'r' ? to_repr(interpreter_.budget(), value)
                                              : to_str(interpreter_.budget(), value));
    }
    out_ << format_value(interpreter_.budget(), value, specification);
  }

  Value resolve(std::string_view name) {
    const size_t end = std::min(name.find_first_of(".["), name.size());
    Value value = argument(name.substr(0, end));
    name.remove_prefix(end);
    while (!name.empty()) {
      if (name[0] == '.') {
        const size_t stop = std::min(name.find_first_of(".[", 1), name.size());
        value = interpreter_.attribute(value, std::string(name.substr(1, stop - 1)));
        name.remove_prefix(stop);
      } else {
        const size_t stop = name.find(']');
        NIBBLE_CHECK(name[0] == '[' && stop != std::string_view::npos,
                     "missing ']' in the format string");
        value = interpreter_.item(value, key(name.substr(1, stop - 1)));
        name.remove_prefix(stop + 1);
      }
    }
    return value;
  }

  static Value key(std::string_view text) {
    const bool number = !text.empty() && text.find_first_not_of("0123456789") == text.npos;
    const std::optional<Integer> index = number ? parse_integer(text, 10) : std::nullopt;
    return index ? Value::integer(*index) : Value::string(std::string(text));
  }

  Value argument(std::string_view name) {
    const Value which = name.empty() ? Value::integer(next_++) : key(name);
    if (which.is(Kind::kInteger)) {
      const auto count = static_cast<Integer>(arguments_.positional.size());
      NIBBLE_CHECK(which.as_integer() < count, "the format string has more fields than arguments");
      return arguments_.positional[static_cast<size_t>(which.as_integer())];
    }
    for (const auto& [given, value] : arguments_.named) {
      if (given == name) {
        return value;
      }
    }
    fail("the format string's field '", name, "' was not given");
  }

  Interpreter& interpreter_;
  const Arguments& arguments_;
  TextBuilder out_;
  int64_t next_ = 0;
};

}  // namespace

std::string brace_format(Interpreter& interpreter, std::string_view format,
                         const Arguments& arguments) {
  return BraceFormatter(interpreter, arguments).run(format);
}

}  // namespace nibble::text::jinja
