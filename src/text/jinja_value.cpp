#include "jinja_value.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "jinja_strings.h"

namespace nibble::text::jinja {
namespace {

void bound_depth(Object& object, int deepest_part) {
  object.depth = deepest_part + 1;
  NIBBLE_CHECK(object.depth <= kMaxValueDepth, "the template nests values deeper than ",
               kMaxValueDepth, " levels");
}

template <class Object>
Value sequence(Kind kind, std::vector<Value> items, const char* view_name = nullptr) {
  auto object = std::make_shared<Object>();
  int deepest = 0;
  for (const Value& item : items) {
    deepest = std::max(deepest, item.depth());
  }
  bound_depth(*object, deepest);
  object->is_hashable = kind == Kind::kTuple && std::all_of(items.begin(), items.end(), hashable);
  object->items = std::move(items);
  object->view_name = view_name;
  return Value::object(kind, std::move(object));
}

}  // namespace

const Value* DictObject::find(const std::string& key) const {
  const auto found = string_index.find(key);
  return found == string_index.end() ? nullptr : &items[found->second].second;
}

const Value* DictObject::find(Budget& budget, const Value& key) const {
  if (key.is(Kind::kString)) {
    budget.step(1 + key.text().size() / 64);
    return find(key.text());
  }
  budget.step(items.size());
  for (const auto& [candidate, value] : items) {
    if (candidate.kind() != Kind::kString && equals(budget, candidate, key)) {
      return &value;
    }
  }
  return nullptr;
}

void DictObject::set(Budget& budget, const Value& key, Value value) {
  put(find(budget, key), key, std::move(value));
}

void DictObject::set(const Value& name, Value value) {
  put(find(name.text()), name, std::move(value));
}

void DictObject::put(const Value* place, const Value& key, Value value) {
  depth = std::max({depth, key.depth() + 1, value.depth() + 1});
  bound_depth(*this, depth - 1);
  if (place != nullptr) {
    *const_cast<Value*>(place) = std::move(value);
    return;
  }
  if (key.is(Kind::kString)) {
    string_index.emplace(key.text(), items.size());
  }
  items.emplace_back(key, std::move(value));
}

int64_t RangeObject::length() const {
  if (step > 0 ? start >= stop : start <= stop) {
    return 0;
  }
  const Integer distance = step > 0 ? Integer{stop} - start : Integer{start} - stop;
  const Integer stride = step > 0 ? Integer{step} : -Integer{step};
  return static_cast<int64_t>((distance + stride - 1) / stride);
}

const Value* NamespaceObject::find(std::string_view name) const {
  const auto found = std::find_if(attributes.begin(), attributes.end(),
                                  [&](const auto& entry) { return entry.first == name; });
  return found == attributes.end() ? nullptr : &found->second;
}

void NamespaceObject::set(std::string_view name, Value value) {
  NIBBLE_CHECK(!name.starts_with('_'), "a namespace attribute may not start with an underscore: '",
               name, "'");
  if (const Value* found = find(name)) {
    *const_cast<Value*>(found) = std::move(value);
  } else {
    attributes.emplace_back(name, std::move(value));
  }
}

Value Value::undefined(std::string why) {
  Value result;
  auto object = std::make_shared<StringObject>();
  object->text = std::move(why);
  result.object_ = std::move(object);
  return result;
}

Value Value::none() {
  Value result;
  result.kind_ = Kind::kNone;
  return result;
}

Value Value::boolean(bool value) {
  Value result;
  result.kind_ = Kind::kBool;
  result.integer_ = value ? 1 : 0;
  return result;
}

Value Value::integer(Integer value) {
  Value result;
  result.kind_ = Kind::kInteger;
  result.integer_ = value;
  return result;
}

Value Value::floating(double value) {
  Value result;
  result.kind_ = Kind::kFloat;
  result.float_ = value;
  return result;
}

Value Value::string(std::string text) {
  NIBBLE_CHECK(text.size() <= kMaxTextBytes, "the template makes a string longer than ",
               kMaxTextBytes >> 20, " MiB");
  auto object = std::make_shared<StringObject>();
  object->length = count_code_points(text);
  object->text = std::move(text);
  return Value::object(Kind::kString, std::move(object));
}

Value Value::list(std::vector<Value> items) {
  return sequence<SequenceObject>(Kind::kList, std::move(items));
}

Value Value::tuple(std::vector<Value> items) {
  return sequence<SequenceObject>(Kind::kTuple, std::move(items));
}

Value Value::view(std::vector<Value> items, const char* name) {
  return sequence<SequenceObject>(Kind::kView, std::move(items), name);
}

Value Value::dict(std::shared_ptr<DictObject> object) {
  return Value::object(Kind::kDict, std::move(object));
}

Value Value::range(int64_t start, int64_t stop, int64_t step) {
  auto object = std::make_shared<RangeObject>();
  object->start = start;
  object->stop = stop;
  object->step = step;
  return Value::object(Kind::kRange, std::move(object));
}

Value Value::iterator(std::function<std::optional<Value>()> next,
                      std::initializer_list<const Value*> sources) {
  auto object = std::make_shared<IteratorObject>();
  int deepest = 0;
  for (const Value* source : sources) {
    deepest = std::max(deepest, source->depth());
  }
  bound_depth(*object, deepest);
  object->next = std::move(next);
  return Value::object(Kind::kIterator, std::move(object));
}

Value Value::object(Kind kind, std::shared_ptr<Object> object) {
  Value result;
  result.kind_ = kind;
  result.object_ = std::move(object);
  return result;
}

Value Value::function(std::string name, std::function<Value(Interpreter&, const Arguments&)> call) {
  auto object = std::make_shared<FunctionObject>();
  object->name = std::move(name);
  object->call = std::move(call);
  return Value::object(Kind::kFunction, std::move(object));
}

double Value::as_float() const {
  return kind_ == Kind::kFloat ? float_ : static_cast<double>(integer_);
}

std::string Value::why_undefined() const {
  return object_ ? as<StringObject>().text : std::string("the value is undefined");
}

std::string_view type_name(const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
      return "Undefined";
    case Kind::kNone:
      return "NoneType";
    case Kind::kBool:
      return "bool";
    case Kind::kInteger:
      return "int";
    case Kind::kFloat:
      return "float";
    case Kind::kString:
      return "str";
    case Kind::kList:
      return "list";
    case Kind::kTuple:
      return "tuple";
    case Kind::kDict:
      return "dict";
    case Kind::kRange:
      return "range";
    case Kind::kView:
      return value.as<SequenceObject>().view_name;
    case Kind::kIterator:
      return "generator";
    case Kind::kNamespace:
      return "Namespace";
    case Kind::kFunction:
      return "function";
    case Kind::kLoop:
      return "LoopContext";
  }
  return "object";
}

bool truthy(const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
    case Kind::kNone:
      return false;
    case Kind::kBool:
    case Kind::kInteger:
      return value.as_integer() != 0;
    case Kind::kFloat:
      return value.as_float() != 0;
    case Kind::kIterator:
    case Kind::kNamespace:
    case Kind::kFunction:
    case Kind::kLoop:
      return true;
    default:
      return *length(value) != 0;
  }
}

void require_defined(const Value& value) {
  NIBBLE_CHECK(!value.is_undefined(), value.why_undefined());
}

std::optional<int64_t> length(const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
      return 0;
    case Kind::kString:
      return static_cast<int64_t>(value.text_length());
    case Kind::kList:
    case Kind::kTuple:
    case Kind::kView:
      return static_cast<int64_t>(value.items().size());
    case Kind::kDict:
      return static_cast<int64_t>(value.dict().items.size());
    case Kind::kRange:
      return value.range().length();
    default:
      return std::nullopt;
  }
}

bool is_iterable(const Value& value) {
  return length(value).has_value() || value.is(Kind::kIterator) || value.is(Kind::kLoop);
}

std::function<std::optional<Value>()> iterate(const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
      return [] { return std::optional<Value>(); };
    case Kind::kString:
      return [value, at = size_t{0}]() mutable -> std::optional<Value> {
        const std::string& text = value.text();
        if (at >= text.size()) {
          return std::nullopt;
        }
        const size_t bytes = code_point_bytes(text, at);
        at += bytes;
        return Value::string(text.substr(at - bytes, bytes));
      };
    case Kind::kList:
    case Kind::kTuple:
    case Kind::kView:
      return [value, at = size_t{0}]() mutable -> std::optional<Value> {
        return at < value.items().size() ? std::optional(value.items()[at++]) : std::nullopt;
      };
    case Kind::kDict:
      return [value, at = size_t{0}]() mutable -> std::optional<Value> {
        const auto& items = value.dict().items;
        return at < items.size() ? std::optional(items[at++].first) : std::nullopt;
      };
    case Kind::kRange:
      return [value, at = int64_t{0}]() mutable -> std::optional<Value> {
        const RangeObject& range = value.range();
        return at < range.length() ? std::optional(Value::integer(range.at(at++))) : std::nullopt;
      };
    case Kind::kIterator:
      return [value] { return value.as<IteratorObject>().next(); };
    default:
      fail("'", type_name(value), "' object is not iterable");
  }
}

std::vector<Value> collect(Budget& budget, const Value& value) {
  std::vector<Value> items;
  const auto next = iterate(value);
  while (std::optional<Value> item = next()) {
    budget.allocate(sizeof(Value));
    items.push_back(std::move(*item));
  }
  return items;
}

bool hashable(const Value& value) {
  if (value.is(Kind::kTuple)) {
    return value.as<SequenceObject>().is_hashable;
  }
  return !value.is(Kind::kList) && !value.is(Kind::kDict) && !value.is(Kind::kView);
}

}  // namespace nibble::text::jinja
