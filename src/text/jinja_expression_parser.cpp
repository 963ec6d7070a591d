#include <algorithm>
#include <array>

#include "jinja_filters.h"
#include "jinja_parser.h"
#include "jinja_tests.h"

namespace nibble::text::jinja {
namespace {

int depth_of(const ExpressionPtr& node) { return node ? node->depth : 0; }

int depth_of(const std::vector<ExpressionPtr>& nodes) {
  int depth = 0;
  for (const ExpressionPtr& node : nodes) {
    depth = std::max(depth, depth_of(node));
  }
  return depth;
}

template <class Key>
int depth_of(const std::vector<std::pair<Key, ExpressionPtr>>& nodes) {
  int depth = 0;
  for (const auto& [key, node] : nodes) {
    if constexpr (std::is_same_v<Key, ExpressionPtr>) {
      depth = std::max(depth, depth_of(key));
    }
    depth = std::max(depth, depth_of(node));
  }
  return depth;
}

int depth_of(const CallArguments& arguments) {
  return std::max({depth_of(arguments.positional), depth_of(arguments.named),
                   depth_of(arguments.star), depth_of(arguments.double_star)});
}

int parts_depth(const Constant&) { return 0; }
int parts_depth(const Name&) { return 0; }
int parts_depth(const ListLiteral& node) { return depth_of(node.items); }
int parts_depth(const TupleLiteral& node) { return depth_of(node.items); }
int parts_depth(const DictLiteral& node) { return depth_of(node.items); }
int parts_depth(const Unary& node) { return depth_of(node.operand); }
int parts_depth(const Binary& node) { return std::max(depth_of(node.left), depth_of(node.right)); }
int parts_depth(const Logical& node) { return std::max(depth_of(node.left), depth_of(node.right)); }
int parts_depth(const Concatenation& node) { return depth_of(node.items); }
int parts_depth(const Comparison& node) {
  return std::max(depth_of(node.first), depth_of(node.rest));
}
int parts_depth(const Conditional& node) {
  return std::max({depth_of(node.test), depth_of(node.then), depth_of(node.otherwise)});
}
int parts_depth(const Attribute& node) { return depth_of(node.object); }
int parts_depth(const Item& node) { return std::max(depth_of(node.object), depth_of(node.index)); }
int parts_depth(const Slice& node) {
  return std::max(
      {depth_of(node.object), depth_of(node.start), depth_of(node.stop), depth_of(node.step)});
}
int parts_depth(const Call& node) {
  return std::max(depth_of(node.callee), depth_of(node.arguments));
}
int parts_depth(const Filter& node) {
  return std::max(depth_of(node.input), depth_of(node.arguments));
}
int parts_depth(const Test& node) {
  return std::max(depth_of(node.input), depth_of(node.arguments));
}

}  // namespace

template <class Node>
ExpressionPtr Parser::make(int line, Node node) {
  auto expression = std::make_unique<Expression>();
  expression->line = line;
  expression->depth = 1 + parts_depth(node);
  if (expression->depth > kMaxTreeDepth) {
    fail_at(line, "an expression of more than " + std::to_string(kMaxTreeDepth) + " levels");
  }
  expression->node = std::move(node);
  return expression;
}

bool Parser::at_tuple_end(Names end_names) const {
  return current().kind == TokenKind::kVariableEnd || current().kind == TokenKind::kBlockEnd ||
         current().is_operator(")") ||
         std::any_of(end_names.begin(), end_names.end(),
                     [&](std::string_view name) { return current().is_name(name); });
}

ExpressionPtr Parser::parse_tuple(bool with_conditional, Names end_names, bool parenthesized) {
  const int line = current().line;
  std::vector<ExpressionPtr> items;
  bool is_tuple = false;
  while (!at_tuple_end(end_names)) {
    items.push_back(parse_expression(with_conditional));
    if (!take_operator(",")) {
      break;
    }
    is_tuple = true;
  }
  if (!is_tuple && !items.empty()) {
    return std::move(items.front());
  }
  if (!is_tuple && !parenthesized) {
    fail_unexpected("an expression");
  }
  return make(line, TupleLiteral{std::move(items)});
}

ExpressionPtr Parser::parse_expression(bool with_conditional) {
  const Nesting nesting(*this);
  return with_conditional ? parse_conditional() : parse_or();
}

ExpressionPtr Parser::parse_print_list() {
  const int line = current().line;
  Concatenation values;
  do {
    values.items.push_back(parse_expression());
  } while (take_operator(","));
  return make(line, std::move(values));
}

ExpressionPtr Parser::parse_conditional() {
  const int line = current().line;
  const size_t first_unknown = unknown_.size();
  ExpressionPtr value = parse_or();
  while (take_name("if")) {
    ExpressionPtr test = parse_or();
    ExpressionPtr otherwise;
    if (take_name("else")) {
      const Nesting nesting(*this);
      otherwise = parse_conditional();
    }
    value = make(line, Conditional{std::move(test), std::move(value), std::move(otherwise)});
    defer_unknown_since(first_unknown);
  }
  return value;
}

ExpressionPtr Parser::parse_or() {
  const int line = current().line;
  ExpressionPtr left = parse_and();
  while (take_name("or")) {
    left = make(line, Logical{false, std::move(left), parse_and()});
  }
  return left;
}

ExpressionPtr Parser::parse_and() {
  const int line = current().line;
  ExpressionPtr left = parse_not();
  while (take_name("and")) {
    left = make(line, Logical{true, std::move(left), parse_not()});
  }
  return left;
}

ExpressionPtr Parser::parse_not() {
  const int line = current().line;
  if (take_name("not")) {
    const Nesting nesting(*this);
    return make(line, Unary{'!', parse_not()});
  }
  return parse_comparison();
}

ExpressionPtr Parser::parse_comparison() {
  static constexpr std::array<std::string_view, 6> kOperators = {"==", "!=", "<", "<=", ">", ">="};
  const int line = current().line;
  ExpressionPtr first = parse_sum();
  std::vector<std::pair<std::string, ExpressionPtr>> rest;
  while (true) {
    if (current().kind == TokenKind::kOperator &&
        std::find(kOperators.begin(), kOperators.end(), current().text) != kOperators.end()) {
      std::string op = take().text;
      rest.emplace_back(std::move(op), parse_sum());
    } else if (take_name("in")) {
      rest.emplace_back("in", parse_sum());
    } else if (current().is_name("not") && ahead().is_name("in")) {
      take();
      take();
      rest.emplace_back("not in", parse_sum());
    } else {
      break;
    }
  }
  return rest.empty() ? std::move(first)
                      : make(line, Comparison{std::move(first), std::move(rest)});
}

ExpressionPtr Parser::parse_sum() {
  const int line = current().line;
  ExpressionPtr left = parse_concatenation();
  while (current().is_operator("+") || current().is_operator("-")) {
    const char op = take().text[0];
    left = make(line, Binary{op, std::move(left), parse_concatenation()});
  }
  return left;
}

ExpressionPtr Parser::parse_concatenation() {
  const int line = current().line;
  std::vector<ExpressionPtr> items;
  do {
    items.push_back(parse_product());
  } while (take_operator("~"));
  return items.size() == 1 ? std::move(items.front()) : make(line, Concatenation{std::move(items)});
}

ExpressionPtr Parser::parse_product() {
  const int line = current().line;
  ExpressionPtr left = parse_power();
  while (current().is_operator("*") || current().is_operator("/") || current().is_operator("//") ||
         current().is_operator("%")) {
    const std::string op = take().text;
    left = make(line, Binary{op == "//" ? 'f' : op[0], std::move(left), parse_power()});
  }
  return left;
}

// Left-associative, unlike Python's: that is how Jinja parses it.
ExpressionPtr Parser::parse_power() {
  const int line = current().line;
  ExpressionPtr left = parse_unary();
  while (take_operator("**")) {
    left = make(line, Binary{'p', std::move(left), parse_unary()});
  }
  return left;
}

ExpressionPtr Parser::parse_unary(bool with_filter) {
  const int line = current().line;
  ExpressionPtr node;
  if (current().is_operator("-") || current().is_operator("+")) {
    const Nesting nesting(*this);
    const char op = take().text[0];
    node = make(line, Unary{op, parse_unary(false)});
  } else {
    node = parse_primary();
  }
  node = parse_postfix(std::move(node));
  return with_filter ? parse_filters_and_tests(std::move(node)) : std::move(node);
}

ExpressionPtr Parser::parse_primary() {
  const int line = current().line;
  switch (current().kind) {
    case TokenKind::kName:
      return parse_name();
    case TokenKind::kString: {
      std::string text;
      while (current().kind == TokenKind::kString) {
        text += take().text;
      }
      return make(line, Constant{Value::string(std::move(text))});
    }
    case TokenKind::kInteger:
    case TokenKind::kFloat:
      return make(line, Constant{take().number});
    default:
      break;
  }
  if (take_operator("(")) {
    ExpressionPtr node = parse_tuple(true, {}, true);
    expect_operator(")");
    return node;
  }
  if (current().is_operator("[")) {
    return parse_list();
  }
  if (current().is_operator("{")) {
    return parse_dict();
  }
  fail_unexpected("an expression");
}

ExpressionPtr Parser::parse_name() {
  const Token token = take();
  if (token.text == "true" || token.text == "True") {
    return make(token.line, Constant{Value::boolean(true)});
  }
  if (token.text == "false" || token.text == "False") {
    return make(token.line, Constant{Value::boolean(false)});
  }
  if (token.text == "none" || token.text == "None") {
    return make(token.line, Constant{Value::none()});
  }
  frames_.load(token.text);
  for (MacroBody* macro : macros_) {
    macro->uses_caller = macro->uses_caller || token.text == "caller";
    macro->uses_varargs = macro->uses_varargs || token.text == "varargs";
    macro->uses_kwargs = macro->uses_kwargs || token.text == "kwargs";
  }
  return make(token.line, Name{token.text});
}

ExpressionPtr Parser::parse_list() {
  const int line = current().line;
  expect_operator("[");
  ListLiteral node;
  while (!current().is_operator("]")) {
    node.items.push_back(parse_expression());
    if (!current().is_operator("]")) {
      expect_operator(",");
    }
  }
  expect_operator("]");
  return make(line, std::move(node));
}

ExpressionPtr Parser::parse_dict() {
  const int line = current().line;
  expect_operator("{");
  DictLiteral node;
  while (!current().is_operator("}")) {
    ExpressionPtr key = parse_expression();
    expect_operator(":");
    ExpressionPtr value = parse_expression();
    node.items.emplace_back(std::move(key), std::move(value));
    if (!current().is_operator("}")) {
      expect_operator(",");
    }
  }
  expect_operator("}");
  return make(line, std::move(node));
}

ExpressionPtr Parser::parse_postfix(ExpressionPtr node) {
  while (true) {
    if (current().is_operator(".")) {
      node = parse_attribute(std::move(node));
    } else if (current().is_operator("[")) {
      node = parse_subscript(std::move(node));
    } else if (current().is_operator("(")) {
      node = parse_call(std::move(node));
    } else {
      return node;
    }
  }
}

ExpressionPtr Parser::parse_filters_and_tests(ExpressionPtr node) {
  while (true) {
    if (take_operator("|")) {
      node = parse_filter(std::move(node));
    } else if (current().is_name("is")) {
      node = parse_test(std::move(node));
    } else if (current().is_operator("(")) {
      node = parse_call(std::move(node));
    } else {
      return node;
    }
  }
}

ExpressionPtr Parser::parse_attribute(ExpressionPtr node) {
  const int line = take().line;
  if (current().kind == TokenKind::kInteger) {
    ExpressionPtr index = make(line, Constant{take().number});
    return make(line, Item{std::move(node), std::move(index)});
  }
  return make(line, Attribute{std::move(node), expect_name("an attribute name or number")});
}

ExpressionPtr Parser::parse_subscript(ExpressionPtr node) {
  const int line = take().line;
  if (current().is_operator(":")) {
    return parse_slice(std::move(node), nullptr);
  }
  ExpressionPtr index = parse_expression();
  if (current().is_operator(":")) {
    return parse_slice(std::move(node), std::move(index));
  }
  if (current().is_operator(",")) {
    TupleLiteral tuple;
    tuple.items.push_back(std::move(index));
    while (take_operator(",")) {
      tuple.items.push_back(parse_expression());
    }
    index = make(line, std::move(tuple));
  }
  expect_operator("]");
  return make(line, Item{std::move(node), std::move(index)});
}

ExpressionPtr Parser::parse_slice(ExpressionPtr node, ExpressionPtr start) {
  const int line = current().line;
  const auto bound = [&]() -> ExpressionPtr {
    if (current().is_operator(":") || current().is_operator("]")) {
      return nullptr;
    }
    return parse_expression();
  };
  expect_operator(":");
  ExpressionPtr stop = bound();
  ExpressionPtr step = take_operator(":") ? bound() : nullptr;
  expect_operator("]");
  return make(line, Slice{std::move(node), std::move(start), std::move(stop), std::move(step)});
}

ExpressionPtr Parser::parse_call(ExpressionPtr callee) {
  const int line = current().line;
  return make(line, Call{std::move(callee), parse_arguments()});
}

CallArguments Parser::parse_arguments() {
  CallArguments arguments;
  expect_operator("(");
  while (!current().is_operator(")")) {
    parse_argument(arguments);
    if (!current().is_operator(")")) {
      expect_operator(",");
    }
  }
  expect_operator(")");
  return arguments;
}

void Parser::parse_argument(CallArguments& arguments) {
  const int line = current().line;
  const auto require = [&](bool valid) {
    if (!valid) {
      fail_at(line, "invalid order of arguments in a call");
    }
  };
  if (take_operator("*")) {
    require(!arguments.star && !arguments.double_star);
    arguments.star = parse_expression();
  } else if (take_operator("**")) {
    require(!arguments.double_star);
    arguments.double_star = parse_expression();
  } else if (current().kind == TokenKind::kName && ahead().is_operator("=")) {
    require(!arguments.double_star);
    std::string name = take().text;
    take();
    if (arguments.named.size() == kMaxNames) {
      fail_at(line, "a call has more than " + std::to_string(kMaxNames) + " named arguments");
    }
    for (const auto& [other, value] : arguments.named) {
      if (other == name) {
        fail_at(line, "the argument '" + name + "' is given twice");
      }
    }
    arguments.named.emplace_back(std::move(name), parse_expression());
  } else {
    require(!arguments.star && !arguments.double_star && arguments.named.empty());
    arguments.positional.push_back(parse_expression());
  }
}

ExpressionPtr Parser::parse_filter(ExpressionPtr node) {
  const int line = current().line;
  std::string name = expect_name("a filter name");
  while (take_operator(".")) {
    name += "." + expect_name("a filter name");
  }
  check_known(find_filter(name) != nullptr, "filter", name, line);
  CallArguments arguments;
  if (current().is_operator("(")) {
    arguments = parse_arguments();
  }
  return make(line, Filter{std::move(node), std::move(name), std::move(arguments)});
}

ExpressionPtr Parser::parse_test(ExpressionPtr node) {
  const int line = take().line;
  const bool negated = take_name("not");
  std::string name = expect_name("a test name");
  while (take_operator(".")) {
    name += "." + expect_name("a test name");
  }
  check_known(find_test(name) != nullptr, "test", name, line);
  CallArguments arguments;
  const Token& next = current();
  const bool starts_argument = next.kind == TokenKind::kName || next.kind == TokenKind::kString ||
                               next.kind == TokenKind::kInteger || next.kind == TokenKind::kFloat ||
                               next.is_operator("[") || next.is_operator("{");
  if (next.is_operator("(")) {
    arguments = parse_arguments();
  } else if (next.is_name("is")) {
    fail_at(line, "tests cannot be chained with 'is'");
  } else if (starts_argument && !next.is_name("else") && !next.is_name("or") &&
             !next.is_name("and")) {
    arguments.positional.push_back(parse_postfix(parse_primary()));
  }
  ExpressionPtr test = make(line, Test{std::move(node), std::move(name), std::move(arguments)});
  return negated ? make(line, Unary{'!', std::move(test)}) : std::move(test);
}

}  // namespace nibble::text::jinja
