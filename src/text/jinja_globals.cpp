#include "jinja_globals.h"

#include <array>
#include <chrono>
#include <cstdio>
#include <ctime>

#include "jinja_arguments.h"
#include "jinja_interpreter.h"
#include "jinja_operators.h"

namespace nibble::text::jinja {
namespace {

constexpr int64_t kMaxRange = 100'000;  // jinja2.sandbox.MAX_RANGE
constexpr std::string_view kPositional = "";

Value range(Interpreter&, const Arguments& arguments) {
  const Parameters parameters("range", arguments, {kPositional, kPositional, kPositional}, 1);
  const auto bound = [&](size_t i) { return to_index(*parameters[i], "an argument of range()"); };
  const bool one = parameters[1] == nullptr;
  const int64_t start = one ? 0 : bound(0), stop = one ? bound(0) : bound(1);
  const int64_t step = parameters[2] != nullptr ? bound(2) : 1;
  NIBBLE_CHECK(step != 0, "range()'s step must not be zero");
  const Value result = Value::range(start, stop, step);
  NIBBLE_CHECK(result.range().length() <= kMaxRange, "range() of ", result.range().length(),
               " items, at most ", kMaxRange, " are allowed");
  return result;
}

/// dict(mapping or pairs, **named).
std::shared_ptr<DictObject> make_dict(Interpreter& interpreter, const Arguments& arguments) {
  auto result = std::make_shared<DictObject>();
  NIBBLE_CHECK(arguments.positional.size() <= 1, "dict() takes at most one argument");
  if (!arguments.positional.empty()) {
    const Value& source = arguments.positional[0];
    require_defined(source);
    const auto next = iterate(source);
    while (const std::optional<Value> item = next()) {
      if (source.is(Kind::kDict)) {
        set_item(interpreter.budget(), *result, *item,
                 *source.dict().find(interpreter.budget(), *item));
        continue;
      }
      const std::vector<Value> pair = collect(interpreter.budget(), *item);
      NIBBLE_CHECK(pair.size() == 2, "dict() needs pairs, got ", pair.size(), " items");
      set_item(interpreter.budget(), *result, pair[0], pair[1]);
    }
  }
  for (const auto& [name, value] : arguments.named) {
    set_item(interpreter.budget(), *result, Value::string(name), value);
  }
  return result;
}

Value dict(Interpreter& interpreter, const Arguments& arguments) {
  return Value::dict(make_dict(interpreter, arguments));
}

Value make_namespace(Interpreter& interpreter, const Arguments& arguments) {
  auto object = std::make_shared<NamespaceObject>();
  const std::shared_ptr<DictObject> attributes = make_dict(interpreter, arguments);
  for (const auto& [name, value] : attributes->items) {
    NIBBLE_CHECK(name.is(Kind::kString), "a namespace's attributes must be named by strings");
    object->set(name.text(), value);
  }
  const Value result = Value::object(Kind::kNamespace, std::move(object));
  interpreter.adopt(result);
  return result;
}

Value joiner(Interpreter&, const Arguments& arguments) {
  const Parameters parameters("joiner", arguments, {"sep"});
  const Value separator = parameters[0] != nullptr ? *parameters[0] : Value::string(", ");
  return Value::function("joiner", [separator, used = std::make_shared<bool>(false)](
                                       Interpreter&, const Arguments& none) {
    Parameters("joiner", none, {});
    return std::exchange(*used, true) ? separator : Value::string("");
  });
}

Value raise_exception(Interpreter& interpreter, const Arguments& arguments) {
  const Parameters parameters("raise_exception", arguments, {"message"}, 1);
  fail(to_str(interpreter.budget(), *parameters[0]));
}

Value strftime_now(Interpreter& interpreter, const Arguments& arguments) {
  const Parameters parameters("strftime_now", arguments, {"format"}, 1);
  NIBBLE_CHECK(parameters[0]->is(Kind::kString) && parameters[0]->text().size() <= 256,
               "strftime_now() needs a format of at most 256 bytes");
  const auto now = std::chrono::system_clock::now();
  const std::time_t seconds = std::chrono::system_clock::to_time_t(now);
  const auto micros = std::chrono::duration_cast<std::chrono::microseconds>(now.time_since_epoch());
  std::array<char, 8> fraction;
  std::snprintf(fraction.data(), fraction.size(), "%06d",
                static_cast<int>(micros.count() % 1'000'000));
  // %f, the microseconds, is Python's own.
  std::string format;
  const std::string& given = parameters[0]->text();
  for (size_t i = 0; i < given.size(); ++i) {
    if (given[i] == '%' && i + 1 < given.size()) {
      format += given[i + 1] == 'f' ? std::string(fraction.data()) : given.substr(i, 2);
      ++i;
    } else {
      format += given[i];
    }
  }
  std::tm local{};
  localtime_r(&seconds, &local);
  std::array<char, 8192> text;
  const size_t size = std::strftime(text.data(), text.size(), format.c_str(), &local);
  interpreter.budget().allocate(size);
  return Value::string(std::string(text.data(), size));
}

}  // namespace

const DictObject& globals() {
  static const DictObject kGlobals = [] {
    DictObject result;
    const auto add = [&](const char* name, Value (*function)(Interpreter&, const Arguments&)) {
      result.set(Value::string(name), Value::function(name, function));
    };
    add("range", range);
    add("dict", dict);
    add("namespace", make_namespace);
    add("joiner", joiner);
    add("raise_exception", raise_exception);
    add("strftime_now", strftime_now);
    return result;
  }();
  return kGlobals;
}

}  // namespace nibble::text::jinja
