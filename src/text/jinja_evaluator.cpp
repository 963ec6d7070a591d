#include "jinja_filters.h"
#include "jinja_interpreter.h"
#include "jinja_operators.h"
#include "jinja_tests.h"

namespace nibble::text::jinja {

Value Interpreter::evaluate(const Expression& expression) {
  const Depth depth(*this);
  budget_.step();
  line_ = expression.line;
  return std::visit([this](const auto& node) { return evaluate(node); }, expression.node);
}

Value* Interpreter::find(std::string_view name) {
  for (Scope* scope = scope_.get(); scope != nullptr; scope = scope->parent.get()) {
    budget_.step();
    if (const auto found = scope->names.find(name); found != scope->names.end()) {
      return &found->second;
    }
  }
  return nullptr;
}

Value Interpreter::evaluate(const Name& node) {
  if (const Value* value = find(node.name)) {
    return *value;
  }
  if (const Value* value = variables_.find(node.name)) {
    return *value;
  }
  if (const Value* value = globals_.find(node.name)) {
    return *value;
  }
  return Value::undefined("'" + node.name + "' is undefined");
}

std::vector<Value> Interpreter::evaluate_all(const std::vector<ExpressionPtr>& nodes) {
  budget_.allocate(nodes.size() * sizeof(Value));
  std::vector<Value> values;
  values.reserve(nodes.size());
  for (const ExpressionPtr& node : nodes) {
    values.push_back(evaluate(*node));
  }
  return values;
}

Value Interpreter::evaluate(const ListLiteral& node) {
  return Value::list(evaluate_all(node.items));
}

Value Interpreter::evaluate(const TupleLiteral& node) {
  return Value::tuple(evaluate_all(node.items));
}

Value Interpreter::evaluate(const DictLiteral& node) {
  auto dict = std::make_shared<DictObject>();
  for (const auto& [key, value] : node.items) {
    const Value key_value = evaluate(*key);
    set_item(budget_, *dict, key_value, evaluate(*value));
  }
  return Value::dict(std::move(dict));
}

Value Interpreter::evaluate(const Unary& node) {
  const Value operand = evaluate(*node.operand);
  return node.op == '!' ? Value::boolean(!truthy(operand)) : apply_unary(node.op, operand);
}

Value Interpreter::evaluate(const Binary& node) {
  const Value left = evaluate(*node.left);
  return apply_binary(budget_, node.op, left, evaluate(*node.right));
}

Value Interpreter::evaluate(const Logical& node) {
  Value left = evaluate(*node.left);
  return truthy(left) == node.is_and ? evaluate(*node.right) : left;
}

Value Interpreter::evaluate(const Concatenation& node) {
  const std::vector<Value> values = evaluate_all(node.items);
  TextBuilder text(budget_);
  for (const Value& value : values) {
    write_str(text, value);
  }
  return Value::string(text.take());
}

Value Interpreter::evaluate(const Comparison& node) {
  Value left = evaluate(*node.first);
  for (const auto& [op, expression] : node.rest) {
    Value right = evaluate(*expression);
    if (!compare(budget_, op, left, right)) {
      return Value::boolean(false);
    }
    left = std::move(right);
  }
  return Value::boolean(true);
}

Value Interpreter::evaluate(const Conditional& node) {
  if (truthy(evaluate(*node.test))) {
    return evaluate(*node.then);
  }
  if (node.otherwise) {
    return evaluate(*node.otherwise);
  }
  return Value::undefined("the inline if-expression evaluated to false and has no else");
}

Value Interpreter::evaluate(const Attribute& node) {
  return attribute(evaluate(*node.object), node.name);
}

Value Interpreter::evaluate(const Item& node) {
  const Value object = evaluate(*node.object);
  return item(object, evaluate(*node.index));
}

Value Interpreter::evaluate(const Slice& node) {
  const Value object = evaluate(*node.object);
  const auto bound = [this](const ExpressionPtr& expression) {
    return expression ? evaluate(*expression) : Value::none();
  };
  const Value start = bound(node.start);
  const Value stop = bound(node.stop);
  return slice(budget_, object, start, stop, bound(node.step));
}

Arguments Interpreter::evaluate_arguments(const CallArguments& node) {
  Arguments arguments;
  arguments.positional = evaluate_all(node.positional);
  for (const auto& [name, value] : node.named) {
    arguments.named.emplace_back(name, evaluate(*value));
  }
  if (node.star) {
    for (Value& value : collect(budget_, evaluate(*node.star))) {
      arguments.positional.push_back(std::move(value));
    }
  }
  if (node.double_star) {
    const Value dict = evaluate(*node.double_star);
    NIBBLE_CHECK(dict.is(Kind::kDict), "the argument after ** must be a mapping, not ",
                 type_name(dict));
    for (const auto& [key, value] : dict.dict().items) {
      NIBBLE_CHECK(key.is(Kind::kString), "keywords must be strings");
      budget_.allocate(sizeof(Value));
      for (const auto& [name, given] : arguments.named) {
        NIBBLE_CHECK(name != key.text(), "the argument '", name, "' is given twice");
        budget_.step();
      }
      arguments.named.emplace_back(key.text(), value);
    }
  }
  return arguments;
}

Value Interpreter::evaluate(const Call& node) {
  const Value callee = evaluate(*node.callee);
  return call(callee, evaluate_arguments(node.arguments));
}

Value Interpreter::call(const Value& function, const Arguments& arguments) {
  const Depth depth(*this);
  require_defined(function);
  if (function.is(Kind::kLoop)) {
    const LoopObject& loop = function.as<LoopObject>();
    NIBBLE_CHECK(loop.recurse, "the loop must be 'recursive' to be called");
    NIBBLE_CHECK(arguments.positional.size() == 1 && arguments.named.empty(),
                 "loop() takes one argument");
    return loop.recurse(*this, arguments.positional.front());
  }
  NIBBLE_CHECK(function.is(Kind::kFunction), "'", type_name(function), "' object is not callable");
  return function.as<FunctionObject>().call(*this, arguments);
}

Value Interpreter::evaluate(const Filter& node) {
  const Value input = node.input ? evaluate(*node.input) : *block_input_;
  return apply_filter(node.name, input, evaluate_arguments(node.arguments));
}

Value Interpreter::evaluate(const Test& node) {
  const Value input = evaluate(*node.input);
  return Value::boolean(apply_test(node.name, input, evaluate_arguments(node.arguments)));
}

Value Interpreter::apply_filter(std::string_view name, const Value& input,
                                const Arguments& arguments) {
  const FilterFunction filter = find_filter(name);
  NIBBLE_CHECK(filter != nullptr, "no filter named '", name, "'");
  const Depth depth(*this);
  budget_.step();
  return filter(*this, input, arguments);
}

bool Interpreter::apply_test(std::string_view name, const Value& input,
                             const Arguments& arguments) {
  const TestFunction test = find_test(name);
  NIBBLE_CHECK(test != nullptr, "no test named '", name, "'");
  budget_.step();
  return test(*this, input, arguments);
}

}  // namespace nibble::text::jinja
