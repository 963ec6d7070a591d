#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "jinja_budget.h"

namespace nibble::text::jinja {

class Interpreter;
class Value;

/// Python integers are unbounded; 128 bits hold every JSON integer, overflow is an error.
__extension__ typedef __int128 Integer;

enum class Kind {
  kUndefined,
  kNone,
  kBool,
  kInteger,
  kFloat,
  kString,
  kList,
  kTuple,
  kDict,
  kRange,
  kView,
  kIterator,
  kNamespace,
  kFunction,
  kLoop
};

/// Base of everything that a Value shares. `depth` is 1 + the deepest part: it bounds the recursion
/// of printing, comparing and destroying.
struct Object {
  virtual ~Object() = default;
  /// Drops what the object refers to, so that cycles end with the render.
  virtual void release() {}
  int depth = 0;
};

struct StringObject : Object {
  std::string text;        // UTF-8
  size_t length = 0;       // code points
  bool is_markup = false;  // went through `safe` or `escape`
};

struct SequenceObject : Object {
  std::vector<Value> items;
  const char* view_name = nullptr;  // "dict_keys", ...: set for Kind::kView
  bool is_group = false;            // a (grouper, list) pair of the groupby filter
  bool is_hashable = false;         // a tuple of hashable values; known, since parts may be shared
};

/// Insertion-ordered, as Python's dict.
struct DictObject : Object {
  std::vector<std::pair<Value, Value>> items;
  std::unordered_map<std::string, size_t> string_index;  // position in `items` of string keys

  /// A key that is no string is compared with every such key; `budget` pays for it.
  const Value* find(Budget& budget, const Value& key) const;
  const Value* find(const std::string& key) const;
  void set(Budget& budget, const Value& key, Value value);
  /// `name` is a string.
  void set(const Value& name, Value value);

 private:
  void put(const Value* place, const Value& key, Value value);
};

struct RangeObject : Object {
  int64_t start = 0, stop = 0, step = 1;
  int64_t length() const;
  int64_t at(int64_t index) const { return start + index * step; }
};

/// A Python iterator or generator: one pass, no length, always true.
struct IteratorObject : Object {
  std::function<std::optional<Value>()> next;
};

struct NamespaceObject : Object {
  std::vector<std::pair<std::string, Value>> attributes;
  void release() override { attributes.clear(); }
  const Value* find(std::string_view name) const;
  void set(std::string_view name, Value value);
};

struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;
};

struct FunctionObject : Object {
  std::string name;
  std::function<Value(Interpreter&, const Arguments&)> call;
};

struct LoopObject;

/// A value of the template language. Copies share; only namespaces, iterators and loops change.
class Value {
 public:
  Value() = default;  // undefined
  static Value undefined(std::string why);
  static Value none();
  static Value boolean(bool value);
  static Value integer(Integer value);
  static Value floating(double value);
  static Value string(std::string text);
  static Value list(std::vector<Value> items);
  static Value tuple(std::vector<Value> items);
  static Value view(std::vector<Value> items, const char* name);
  static Value dict(std::shared_ptr<DictObject> object);
  static Value range(int64_t start, int64_t stop, int64_t step);
  /// `sources`: what `next` captured, for the bound on depth.
  static Value iterator(std::function<std::optional<Value>()> next,
                        std::initializer_list<const Value*> sources);
  static Value object(Kind kind, std::shared_ptr<Object> object);
  static Value function(std::string name,
                        std::function<Value(Interpreter&, const Arguments&)> call);

  Kind kind() const { return kind_; }
  bool is(Kind kind) const { return kind_ == kind; }
  bool is_undefined() const { return kind_ == Kind::kUndefined; }
  /// bool is an int in Python.
  bool is_integral() const { return kind_ == Kind::kInteger || kind_ == Kind::kBool; }
  bool is_number() const { return is_integral() || kind_ == Kind::kFloat; }

  Integer as_integer() const { return integer_; }  // kInteger, kBool
  double as_float() const;                         // any number
  const std::string& text() const { return as<StringObject>().text; }
  size_t text_length() const { return as<StringObject>().length; }
  const std::vector<Value>& items() const { return as<SequenceObject>().items; }
  const DictObject& dict() const { return as<DictObject>(); }
  const RangeObject& range() const { return as<RangeObject>(); }

  template <class T>
  T& as() const {
    return static_cast<T&>(*object_);
  }
  const Object* identity() const { return object_.get(); }
  int depth() const { return object_ ? object_->depth : 0; }
  /// Why the value is undefined: "'x' is undefined".
  std::string why_undefined() const;

 private:
  Kind kind_ = Kind::kUndefined;
  Integer integer_ = 0;
  double float_ = 0;
  std::shared_ptr<Object> object_;
};

/// Python's name of the value's type: 'str', 'dict', ...
std::string_view type_name(const Value& value);
bool truthy(const Value& value);
/// Fails with the reason where `value` is undefined.
void require_defined(const Value& value);

std::string integer_text(Integer value);
std::string float_repr(double value);
/// Python's repr(text) of a str.
std::string string_repr(std::string_view text);
/// Python's str() and repr().
void write_str(TextBuilder& out, const Value& value);
void write_repr(TextBuilder& out, const Value& value);
std::string to_str(Budget& budget, const Value& value);
std::string to_repr(Budget& budget, const Value& value);

/// Text that `+` does not escape again, and beside which it escapes other text: nothing else in a
/// chat template tells it from a str.
Value mark_safe(std::string text);
bool is_markup(const Value& value);
void write_escaped(TextBuilder& out, std::string_view text);

/// Python's == and <.
bool equals(Budget& budget, const Value& a, const Value& b);
bool less(Budget& budget, const Value& a, const Value& b);
bool hashable(const Value& value);

/// Python's len(); nothing for values without one.
std::optional<int64_t> length(const Value& value);
bool is_iterable(const Value& value);
/// Python's iter(): for an iterator itself. Fails where the value is not iterable.
std::function<std::optional<Value>()> iterate(const Value& value);
std::vector<Value> collect(Budget& budget, const Value& value);

}  // namespace nibble::text::jinja
