#include "jinja_interpreter.h"

#include <algorithm>

#include "jinja_strings.h"

namespace nibble::text::jinja {

bool LoopObject::peek() {
  if (!after && !exhausted) {
    after = next();
    exhausted = !after;
  }
  return after.has_value();
}

bool LoopObject::advance() {
  if (!peek()) {
    return false;
  }
  before = std::exchange(current, std::exchange(after, std::nullopt));
  ++index0;
  return true;
}

int64_t LoopObject::length(Budget& budget) {
  if (!known_length) {
    std::vector<Value> rest;
    while (std::optional<Value> item = next()) {
      budget.allocate(sizeof(Value));
      rest.push_back(std::move(*item));
    }
    known_length = index0 + 1 + (after ? 1 : 0) + static_cast<int64_t>(rest.size());
    next = iterate(Value::list(std::move(rest)));
  }
  return *known_length;
}

Interpreter::Depth::Depth(Interpreter& interpreter) : interpreter_(interpreter) {
  NIBBLE_CHECK(interpreter_.depth_ < kMaxEvaluationDepth,
               "the template recurses too deeply (limit: ", kMaxEvaluationDepth, " levels)");
  ++interpreter_.depth_;
}

Interpreter::ScopeGuard::ScopeGuard(Interpreter& interpreter, FrameId frame, ScopePtr parent)
    : interpreter_(interpreter), outer_(interpreter.scope_) {
  interpreter_.budget_.allocate(sizeof(Scope));
  auto scope = std::make_shared<Scope>();
  scope->parent = std::move(parent);
  for (const std::string& name : interpreter.template_.unset_names[frame]) {
    scope->names[name] = Value::undefined("'" + name + "' is undefined");
  }
  interpreter_.scope_ = std::move(scope);
}

Interpreter::Interpreter(const Template& source, const DictObject& variables,
                         const DictObject& globals)
    : template_(source), variables_(variables), globals_(globals) {}

Interpreter::~Interpreter() {
  for (const Value& value : adopted_) {
    value.as<Object>().release();
  }
  for (const ScopePtr& scope : captured_scopes_) {
    scope->names.clear();
  }
}

void Interpreter::run() {
  const ScopeGuard scope(*this, 0, nullptr);
  execute(template_.body);
}

void Interpreter::write(std::string_view piece) {
  NIBBLE_CHECK(piece.size() <= kMaxTextBytes - out_->size(), "the output is longer than ",
               kMaxTextBytes >> 20, " MiB");
  budget_.allocate(piece.size());
  *out_ += piece;
}

Interpreter::Flow Interpreter::execute(const Block& block) {
  const Depth depth(*this);
  for (const Statement& statement : block) {
    const Flow flow = execute(statement);
    if (flow != Flow::kNormal) {
      return flow;
    }
  }
  return Flow::kNormal;
}

Interpreter::Flow Interpreter::execute(const Statement& statement) {
  budget_.step();
  line_ = statement.line;
  return std::visit([this](const auto& node) { return execute(node); }, statement.node);
}

Interpreter::Flow Interpreter::execute(const Data& node) {
  write(node.text);
  return Flow::kNormal;
}

Interpreter::Flow Interpreter::execute(const Print& node) {
  const Value value = evaluate(*node.value);
  if (value.is(Kind::kString)) {
    write(value.text());
  } else {
    write(to_str(budget_, value));
  }
  return Flow::kNormal;
}

Interpreter::Flow Interpreter::execute(const If& node) {
  for (const auto& [test, body] : node.branches) {
    if (truthy(evaluate(*test))) {
      return execute(body);
    }
  }
  return execute(node.otherwise);
}

Interpreter::Flow Interpreter::execute(const For& node) {
  return run_loop(node, evaluate(*node.iterable), 0);
}

std::function<std::optional<Value>()> Interpreter::filtered(const For& node,
                                                            const Value& iterable) {
  auto next = iterate(iterable);
  if (!node.filter) {
    return next;
  }
  return [this, &node, next = std::move(next), outer = scope_]() -> std::optional<Value> {
    while (std::optional<Value> item = next()) {
      budget_.step();
      // The filter sees the loop's target and the scope around the loop, not the loop.
      const ScopePtr current = std::exchange(scope_, std::make_shared<Scope>());
      scope_->parent = outer;
      assign(node.target, *item);
      const bool accepted = truthy(evaluate(*node.filter));
      scope_ = current;
      if (accepted) {
        return item;
      }
    }
    return std::nullopt;
  };
}

Interpreter::Flow Interpreter::run_loop(const For& node, const Value& iterable,
                                        int64_t recursion_depth) {
  auto loop = std::make_shared<LoopObject>();
  loop->next = filtered(node, iterable);
  loop->recursion_depth = recursion_depth;
  if (!node.filter) {
    loop->known_length = length(iterable);
  }
  if (node.recursive) {
    loop->recurse = [&node, recursion_depth, outer = scope_](Interpreter& self,
                                                             const Value& inner) {
      const ScopePtr current = std::exchange(self.scope_, outer);
      Capture capture(self);
      self.run_loop(node, inner, recursion_depth + 1);
      self.scope_ = current;
      return Value::string(std::move(capture.text()));
    };
  }
  const Value loop_value = Value::object(Kind::kLoop, loop);
  // Jinja's `else` runs unless an iteration came to the end of the body: after a `break` or
  // `continue` in each of them, too.
  bool completed = false;
  while (loop->advance()) {
    budget_.step();
    const ScopeGuard scope(*this, node.frame);
    scope_->names["loop"] = loop_value;
    assign(node.target, *loop->current);
    const Flow flow = execute(node.body);
    completed = completed || flow == Flow::kNormal;
    if (flow == Flow::kBreak) {
      break;
    }
  }
  if (completed || node.otherwise.empty()) {
    return Flow::kNormal;
  }
  const ScopeGuard scope(*this, node.otherwise_frame);
  return execute(node.otherwise);
}

void Interpreter::assign(const Target& target, const Value& value) {
  if (target.is_tuple) {
    const std::vector<Value> items = collect(budget_, value);
    NIBBLE_CHECK(items.size() == target.items.size(), "cannot unpack ", items.size(),
                 " values into ", target.items.size(), " names");
    for (size_t i = 0; i < items.size(); ++i) {
      assign(target.items[i], items[i]);
    }
  } else if (target.attribute.empty()) {
    scope_->names[target.name] = value;
  } else {
    const Value* object = find(target.name);
    NIBBLE_CHECK(object != nullptr && object->is(Kind::kNamespace),
                 "cannot assign an attribute of '", target.name, "', it is not a namespace");
    object->as<NamespaceObject>().set(target.attribute, value);
  }
}

Interpreter::Flow Interpreter::execute(const Set& node) {
  assign(node.target, evaluate(*node.value));
  return Flow::kNormal;
}

Interpreter::Flow Interpreter::execute(const SetBlock& node) {
  Value value;
  {
    const ScopeGuard scope(*this, node.frame);
    Capture capture(*this);
    const Flow flow = execute(node.body);
    if (flow != Flow::kNormal) {
      return flow;
    }
    value = Value::string(std::move(capture.text()));
    if (node.filter) {
      const Value* outer = std::exchange(block_input_, &value);
      value = evaluate(*node.filter);
      block_input_ = outer;
    }
  }
  assign(node.target, value);
  return Flow::kNormal;
}

Interpreter::Flow Interpreter::execute(const FilterBlock& node) {
  std::string text;
  {
    const ScopeGuard scope(*this, node.frame);
    Capture capture(*this);
    const Flow flow = execute(node.body);
    if (flow != Flow::kNormal) {
      return flow;
    }
    const Value input = Value::string(std::move(capture.text()));
    const Value* outer = std::exchange(block_input_, &input);
    text = to_str(budget_, evaluate(*node.filter));
    block_input_ = outer;
  }
  write(text);
  return Flow::kNormal;
}

Interpreter::Flow Interpreter::execute(const With& node) {
  std::vector<Value> values;
  for (const auto& [target, value] : node.assignments) {
    values.push_back(evaluate(*value));
  }
  const ScopeGuard scope(*this, node.frame);
  for (size_t i = 0; i < values.size(); ++i) {
    assign(node.assignments[i].first, values[i]);
  }
  return execute(node.body);
}

Interpreter::Flow Interpreter::execute(const Macro& node) {
  scope_->names[node.macro->name] = make_macro(node.macro);
  return Flow::kNormal;
}

Interpreter::Flow Interpreter::execute(const CallBlock& node) {
  const Call& call_node = std::get<Call>(node.call->node);
  const Value caller = make_macro(node.caller);
  const Value callee = evaluate(*call_node.callee);
  Arguments arguments = evaluate_arguments(call_node.arguments);
  arguments.named.emplace_back("caller", caller);
  write(to_str(budget_, call(callee, arguments)));
  return Flow::kNormal;
}

size_t Interpreter::characters_written() {
  counted_characters_ += count_code_points(std::string_view(text_).substr(counted_bytes_));
  counted_bytes_ = text_.size();
  return counted_characters_;
}

// transformers renders the block as a macro's body and counts from the end of what has left the
// template so far: inside a macro or a set block that is not where the text will stand.
Interpreter::Flow Interpreter::execute(const Generation& node) {
  std::string text;
  {
    const ScopeGuard scope(*this, node.frame);
    Capture capture(*this);
    execute(node.body);
    text = std::move(capture.text());
  }
  const size_t begin = characters_written();
  budget_.allocate(sizeof(size_t) * 2);
  generation_.emplace_back(begin, begin + count_code_points(text));
  write(text);
  return Flow::kNormal;
}

Value Interpreter::make_macro(const std::shared_ptr<const MacroBody>& macro) {
  captured_scopes_.push_back(scope_);
  return Value::function(macro->name,
                         [macro, closure = scope_](Interpreter& self, const Arguments& arguments) {
                           return self.call_macro(*macro, closure, arguments);
                         });
}

Value Interpreter::call_macro(const MacroBody& macro, const ScopePtr& closure,
                              const Arguments& arguments) {
  const Depth depth(*this);
  const int line = line_;
  const ScopeGuard scope(*this, macro.frame, closure);
  bind_parameters(macro, arguments);
  Capture capture(*this);
  execute(macro.body);
  line_ = line;
  return Value::string(std::move(capture.text()));
}

void Interpreter::bind_parameters(const MacroBody& macro, const Arguments& arguments) {
  const auto& parameters = macro.parameters;
  budget_.step(parameters.size() * (1 + arguments.named.size()));
  std::vector<std::optional<Value>> values(parameters.size());
  const size_t given = std::min(arguments.positional.size(), parameters.size());
  std::copy_n(arguments.positional.begin(), given, values.begin());
  auto extra_named = std::make_shared<DictObject>();
  Value caller = Value::undefined("no caller defined");
  for (const auto& [name, value] : arguments.named) {
    const auto found = std::find_if(parameters.begin(), parameters.end(),
                                    [&](const Parameter& p) { return p.name == name; });
    const auto index = static_cast<size_t>(found - parameters.begin());
    if (index < parameters.size() && index >= given) {
      values[index] = value;
    } else if (name == "caller" && macro.uses_caller) {
      caller = value;
    } else {
      NIBBLE_CHECK(macro.uses_kwargs, "macro '", macro.name, "' takes no keyword argument '", name,
                   "'");
      extra_named->set(Value::string(name), value);
    }
  }
  NIBBLE_CHECK(macro.uses_varargs || arguments.positional.size() <= parameters.size(), "macro '",
               macro.name, "' takes not more than ", parameters.size(), " arguments");
  if (macro.uses_caller) scope_->names["caller"] = caller;
  if (macro.uses_kwargs) scope_->names["kwargs"] = Value::dict(extra_named);
  if (macro.uses_varargs) {
    scope_->names["varargs"] =
        Value::tuple({arguments.positional.begin() + static_cast<std::ptrdiff_t>(given),
                      arguments.positional.end()});
  }
  for (size_t i = 0; i < parameters.size(); ++i) {
    const std::string& name = parameters[i].name;
    scope_->names[name] =
        values[i].value_or(Value::undefined("parameter '" + name + "' was not provided"));
  }
  for (size_t i = 0; i < parameters.size(); ++i) {
    if (!values[i] && parameters[i].default_value) {
      scope_->names[parameters[i].name] = evaluate(*parameters[i].default_value);
    }
  }
}

}  // namespace nibble::text::jinja
