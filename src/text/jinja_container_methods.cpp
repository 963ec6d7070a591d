#include "jinja_arguments.h"
#include "jinja_attributes.h"
#include "jinja_interpreter.h"

namespace nibble::text::jinja {
namespace {

constexpr std::string_view kPositional = "";

Value dict_items(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  Parameters("items", arguments, {});
  std::vector<Value> items;
  for (const auto& [key, value] : self.dict().items) {
    interpreter.budget().allocate(4 * sizeof(Value));
    items.push_back(Value::tuple({key, value}));
  }
  return Value::view(std::move(items), "dict_items");
}

Value dict_keys(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  Parameters("keys", arguments, {});
  return Value::view(collect(interpreter.budget(), self), "dict_keys");
}

Value dict_values(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  Parameters("values", arguments, {});
  std::vector<Value> values;
  for (const auto& [key, value] : self.dict().items) {
    interpreter.budget().allocate(sizeof(Value));
    values.push_back(value);
  }
  return Value::view(std::move(values), "dict_values");
}

Value dict_get(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  const Parameters parameters("get", arguments, {kPositional, kPositional}, 1);
  const Value& key = *parameters[0];
  NIBBLE_CHECK(hashable(key), "unhashable type: '", type_name(key), "'");
  const Value* found = self.dict().find(interpreter.budget(), key);
  if (found != nullptr) {
    return *found;
  }
  return parameters[1] != nullptr ? *parameters[1] : Value::none();
}

Value copy(Interpreter&, const Value& self, const Arguments& arguments) {
  Parameters("copy", arguments, {});
  return self;  // nothing can change it
}

Value sequence_index(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  const Parameters parameters("index", arguments, {kPositional}, 1);
  const auto next = iterate(self);
  for (int64_t index = 0; const std::optional<Value> item = next(); ++index) {
    if (equals(interpreter.budget(), *item, *parameters[0])) {
      return Value::integer(index);
    }
  }
  fail("the value is not in the ", type_name(self));
}

Value sequence_count(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  const Parameters parameters("count", arguments, {kPositional}, 1);
  const auto next = iterate(self);
  int64_t count = 0;
  while (const std::optional<Value> item = next()) {
    count += equals(interpreter.budget(), *item, *parameters[0]) ? 1 : 0;
  }
  return Value::integer(count);
}

}  // namespace

Method find_container_method(Kind kind, std::string_view name) {
  const bool sequence = kind == Kind::kList || kind == Kind::kTuple || kind == Kind::kRange;
  if (sequence && name == "index") return sequence_index;
  if (sequence && name == "count") return sequence_count;
  if ((kind == Kind::kList || kind == Kind::kDict) && name == "copy") return copy;
  if (kind == Kind::kDict) {
    if (name == "items") return dict_items;
    if (name == "keys") return dict_keys;
    if (name == "values") return dict_values;
    if (name == "get") return dict_get;
  }
  return nullptr;
}

}  // namespace nibble::text::jinja
