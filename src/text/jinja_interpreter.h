#pragma once

#include <nibble/text/tokenizer.h>

#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "jinja_ast.h"
#include "jinja_value.h"

namespace nibble::text::jinja {

struct Scope {
  std::shared_ptr<Scope> parent;
  std::unordered_map<std::string_view, Value> names;  // keys live in the template or the variables
};
using ScopePtr = std::shared_ptr<Scope>;

/// The `loop` variable. Looks one item ahead only when the template asks.
struct LoopObject : Object {
  std::function<std::optional<Value>()> next;
  std::optional<int64_t> known_length;
  int64_t index0 = -1;
  int64_t recursion_depth = 0;
  std::optional<Value> before, current, after;
  bool exhausted = false;
  std::optional<Value> last_changed;
  std::function<Value(Interpreter&, const Value& iterable)> recurse;  // empty: not recursive

  void release() override { last_changed.reset(); }
  bool advance();
  bool peek();
  int64_t length(Budget& budget);
};

/// Runs one template once. Not reusable, not thread-safe; the template is only read.
class Interpreter {
 public:
  /// `variables` and `globals` outlive the interpreter.
  Interpreter(const Template& source, const DictObject& variables, const DictObject& globals);
  ~Interpreter();
  Interpreter(const Interpreter&) = delete;
  Interpreter& operator=(const Interpreter&) = delete;

  void run();
  const std::string& text() const { return text_; }
  /// In characters of text(), as transformers counts them.
  const std::vector<std::pair<size_t, size_t>>& generation_characters() const {
    return generation_;
  }
  int line() const { return line_; }

  Budget& budget() { return budget_; }
  Value call(const Value& function, const Arguments& arguments);
  Value apply_filter(std::string_view name, const Value& input, const Arguments& arguments);
  bool apply_test(std::string_view name, const Value& input, const Arguments& arguments);
  /// Keeps an object that may be part of a reference cycle until the end of the run.
  void adopt(const Value& value) { adopted_.push_back(value); }

  // jinja_attributes.cpp: subscripts with Jinja's rules
  /// `object.name`: an attribute, else an item, else undefined.
  Value attribute(const Value& object, const std::string& name);
  /// `object[index]`: an item, else an attribute, else undefined.
  Value item(const Value& object, const Value& index);

 private:
  enum class Flow { kNormal, kBreak, kContinue };

  // jinja_interpreter.cpp: statements
  Flow execute(const Block& block);
  Flow execute(const Statement& statement);
  Flow execute(const Data& node);
  Flow execute(const Print& node);
  Flow execute(const If& node);
  Flow execute(const For& node);
  Flow execute(const Set& node);
  Flow execute(const SetBlock& node);
  Flow execute(const FilterBlock& node);
  Flow execute(const With& node);
  Flow execute(const Macro& node);
  Flow execute(const CallBlock& node);
  Flow execute(const Generation& node);
  Flow execute(const Break&) { return Flow::kBreak; }
  Flow execute(const Continue&) { return Flow::kContinue; }
  Flow run_loop(const For& node, const Value& iterable, int64_t recursion_depth);
  std::function<std::optional<Value>()> filtered(const For& node, const Value& iterable);
  void assign(const Target& target, const Value& value);
  Value make_macro(const std::shared_ptr<const MacroBody>& macro);
  Value call_macro(const MacroBody& macro, const ScopePtr& closure, const Arguments& arguments);
  void bind_parameters(const MacroBody& macro, const Arguments& arguments);
  void write(std::string_view piece);
  size_t characters_written();

  // jinja_evaluator.cpp: expressions
  Value evaluate(const Expression& expression);
  Value evaluate(const Constant& node) { return node.value; }
  Value evaluate(const Name& node);
  Value evaluate(const ListLiteral& node);
  Value evaluate(const TupleLiteral& node);
  Value evaluate(const DictLiteral& node);
  Value evaluate(const Unary& node);
  Value evaluate(const Binary& node);
  Value evaluate(const Logical& node);
  Value evaluate(const Concatenation& node);
  Value evaluate(const Comparison& node);
  Value evaluate(const Conditional& node);
  Value evaluate(const Attribute& node);
  Value evaluate(const Item& node);
  Value evaluate(const Slice& node);
  Value evaluate(const Call& node);
  Value evaluate(const Filter& node);
  Value evaluate(const Test& node);
  std::vector<Value> evaluate_all(const std::vector<ExpressionPtr>& nodes);
  Arguments evaluate_arguments(const CallArguments& node);
  Value* find(std::string_view name);

  class Depth {
   public:
    explicit Depth(Interpreter& interpreter);
    ~Depth() { --interpreter_.depth_; }

   private:
    Interpreter& interpreter_;
  };
  /// A scope inside the current one, for the lifetime of the object.
  class ScopeGuard {
   public:
    ScopeGuard(Interpreter& interpreter, FrameId frame, ScopePtr parent);
    ScopeGuard(Interpreter& interpreter, FrameId frame)
        : ScopeGuard(interpreter, frame, interpreter.scope_) {}
    ~ScopeGuard() { interpreter_.scope_ = std::move(outer_); }

   private:
    Interpreter& interpreter_;
    ScopePtr outer_;
  };
  /// Collects the output in a string of its own, for the lifetime of the object.
  class Capture {
   public:
    explicit Capture(Interpreter& interpreter)
        : interpreter_(interpreter), outer_(std::exchange(interpreter.out_, &text_)) {}
    ~Capture() { interpreter_.out_ = outer_; }
    Capture(const Capture&) = delete;
    Capture& operator=(const Capture&) = delete;
    std::string& text() { return text_; }

   private:
    Interpreter& interpreter_;
    std::string* outer_;
    std::string text_;
  };

  const Template& template_;
  const DictObject& variables_;
  const DictObject& globals_;
  Budget budget_;
  ScopePtr scope_;
  std::vector<ScopePtr> captured_scopes_;  // a macro and its scope refer to each other
  std::vector<Value> adopted_;
  std::string text_;
  std::string* out_ = &text_;
  std::vector<std::pair<size_t, size_t>> generation_;
  size_t counted_bytes_ = 0, counted_characters_ = 0;
  const Value* block_input_ = nullptr;  // what a block's filter works on
  int depth_ = 0;
  int line_ = 1;
};

}  // namespace nibble::text::jinja
