#include "jinja_attributes.h"

#include <algorithm>

#include "jinja_arguments.h"
#include "jinja_interpreter.h"
#include "jinja_operators.h"
#include "jinja_strings.h"

namespace nibble::text::jinja {
namespace {

Value bind_method(const Value& self, std::string_view name, Method method) {
  NIBBLE_CHECK(self.depth() < kMaxValueDepth, "the template nests values deeper than ",
               kMaxValueDepth, " levels");
  auto object = std::make_shared<FunctionObject>();
  object->depth = self.depth() + 1;
  object->name = name;
  object->call = [self, method](Interpreter& interpreter, const Arguments& arguments) {
    return method(interpreter, self, arguments);
  };
  return Value::object(Kind::kFunction, std::move(object));
}

Value loop_cycle(Interpreter&, const Value& self, const Arguments& arguments) {
  const auto& items = arguments.positional;
  NIBBLE_CHECK(!items.empty() && arguments.named.empty(), "loop.cycle() needs items");
  const auto index = static_cast<size_t>(self.as<LoopObject>().index0);
  return items[index % items.size()];
}

Value loop_changed(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  LoopObject& loop = self.as<LoopObject>();
  const Value current = Value::tuple(arguments.positional);
  const bool changed =
      !loop.last_changed || !equals(interpreter.budget(), *loop.last_changed, current);
  loop.last_changed = current;
  interpreter.adopt(self);
  return Value::boolean(changed);
}

std::optional<Value> loop_attribute(Interpreter& interpreter, const Value& self,
                                    std::string_view name) {
  LoopObject& loop = self.as<LoopObject>();
  if (name == "index") return Value::integer(loop.index0 + 1);
  if (name == "index0") return Value::integer(loop.index0);
  if (name == "first") return Value::boolean(loop.index0 == 0);
  if (name == "last") return Value::boolean(!loop.peek());
  if (name == "length") return Value::integer(loop.length(interpreter.budget()));
  if (name == "revindex") return Value::integer(loop.length(interpreter.budget()) - loop.index0);
  if (name == "revindex0") {
    return Value::integer(loop.length(interpreter.budget()) - loop.index0 - 1);
  }
  if (name == "depth") return Value::integer(loop.recursion_depth + 1);
  if (name == "depth0") return Value::integer(loop.recursion_depth);
  if (name == "previtem") {
    return loop.index0 == 0 ? Value::undefined("there is no previous item") : *loop.before;
  }
  if (name == "nextitem") {
    return loop.peek() ? *loop.after : Value::undefined("there is no next item");
  }
  if (name == "cycle") return bind_method(self, name, loop_cycle);
  if (name == "changed") return bind_method(self, name, loop_changed);
  return std::nullopt;
}

bool is_mutating(const Value& object, std::string_view name) {
  static constexpr std::string_view kDict[] = {"clear", "pop", "popitem", "setdefault", "update"};
  static constexpr std::string_view kList[] = {"append", "clear", "pop",    "reverse",
                                               "insert", "sort",  "extend", "remove"};
  const auto among = [&](const auto& names) {
    return std::find(std::begin(names), std::end(names), name) != std::end(names);
  };
  return (object.is(Kind::kDict) && among(kDict)) || (object.is(Kind::kList) && among(kList));
}

Value no_element(const Value& object, const std::string& name) {
  return Value::undefined("'" + std::string(type_name(object)) + " object' has no attribute " +
                          name);
}

/// Python's object[index]; nothing where it raises TypeError or LookupError.
std::optional<Value> find_item(Interpreter& interpreter, const Value& object, const Value& index) {
  if (object.is(Kind::kDict)) {
    const Value* found =
        hashable(index) ? object.dict().find(interpreter.budget(), index) : nullptr;
    return found == nullptr ? std::nullopt : std::optional(*found);
  }
  const bool indexable = object.is(Kind::kString) || object.is(Kind::kList) ||
                         object.is(Kind::kTuple) || object.is(Kind::kRange);
  if (!indexable || !index.is_integral()) {
    return std::nullopt;
  }
  const int64_t count = *length(object);
  const Integer wanted = index.as_integer();
  const Integer position = wanted < 0 ? wanted + count : wanted;
  if (position < 0 || position >= count) {
    return std::nullopt;
  }
  const auto at = static_cast<size_t>(position);
  switch (object.kind()) {
    case Kind::kString: {
      interpreter.budget().step(object.text().size() / 64);
      const bool ascii = object.text_length() == object.text().size();
      const size_t begin = ascii ? at : byte_offset(object.text(), at);
      return Value::string(object.text().substr(begin, code_point_bytes(object.text(), begin)));
    }
    case Kind::kRange:
      return Value::integer(object.range().at(static_cast<int64_t>(position)));
    default:
      return object.items()[at];
  }
}

}  // namespace

std::optional<Value> find_attribute(Interpreter& interpreter, const Value& object,
                                    std::string_view name) {
  require_defined(object);
  if (name.size() > 4 && name.starts_with("__") && name.ends_with("__")) {
    return Value::undefined("access to the attribute '" + std::string(name) + "' is unsafe");
  }
  if (object.is(Kind::kLoop)) {
    return loop_attribute(interpreter, object, name);
  }
  if (object.is(Kind::kNamespace)) {
    const Value* found = object.as<NamespaceObject>().find(name);
    return found == nullptr ? std::nullopt : std::optional(*found);
  }
  if (object.is(Kind::kTuple) && object.as<SequenceObject>().is_group &&
      (name == "grouper" || name == "list")) {
    return object.items()[name == "list" ? 1 : 0];
  }
  if (is_mutating(object, name)) {
    return Value::undefined("'" + std::string(name) + "' would change a " +
                            std::string(type_name(object)) + ", which templates may not do");
  }
  const Method method = object.is(Kind::kString) ? find_string_method(name)
                                                 : find_container_method(object.kind(), name);
  return method == nullptr ? std::nullopt : std::optional(bind_method(object, name, method));
}

Value Interpreter::attribute(const Value& object, const std::string& name) {
  if (std::optional<Value> found = find_attribute(*this, object, name)) {
    return *found;
  }
  if (object.is(Kind::kDict)) {
    const Value* found = object.dict().find(name);
    return found == nullptr ? no_element(object, string_repr(name)) : *found;
  }
  return no_element(object, string_repr(name));
}

Value Interpreter::item(const Value& object, const Value& index) {
  require_defined(object);
  if (std::optional<Value> found = find_item(*this, object, index)) {
    return *found;
  }
  if (index.is(Kind::kString)) {
    if (std::optional<Value> found = find_attribute(*this, object, index.text())) {
      return *found;
    }
    return no_element(object, string_repr(index.text()));
  }
  return no_element(object, "of that key (a " + std::string(type_name(index)) + ")");
}

}  // namespace nibble::text::jinja
