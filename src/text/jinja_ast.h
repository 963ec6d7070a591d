#pragma once

#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "jinja_value.h"

/// The parsed template. Trees are immutable once parsed and shared between renders.
namespace nibble::text::jinja {

struct Expression;
using ExpressionPtr = std::unique_ptr<Expression>;
struct Statement;
using Block = std::vector<Statement>;

struct Constant {
  Value value;
};
struct Name {
  std::string name;
};
struct ListLiteral {
  std::vector<ExpressionPtr> items;
};
struct TupleLiteral {
  std::vector<ExpressionPtr> items;
};
struct DictLiteral {
  std::vector<std::pair<ExpressionPtr, ExpressionPtr>> items;
};
/// op: '-', '+', '!' (not)
struct Unary {
  char op;
  ExpressionPtr operand;
};
/// op: '+', '-', '*', '/', '%', 'f' (//), 'p' (**)
struct Binary {
  char op;
  ExpressionPtr left, right;
};
struct Logical {
  bool is_and;
  ExpressionPtr left, right;
};
struct Concatenation {
  std::vector<ExpressionPtr> items;
};
/// Operators: "==", "!=", "<", "<=", ">", ">=", "in", "not in".
struct Comparison {
  ExpressionPtr first;
  std::vector<std::pair<std::string, ExpressionPtr>> rest;
};
struct Conditional {
  ExpressionPtr test, then, otherwise;
};  // otherwise may be null
struct Attribute {
  ExpressionPtr object;
  std::string name;
};
struct Item {
  ExpressionPtr object, index;
};
struct Slice {
  ExpressionPtr object, start, stop, step;
};  // bounds may be null
struct CallArguments {
  std::vector<ExpressionPtr> positional;
  std::vector<std::pair<std::string, ExpressionPtr>> named;
  ExpressionPtr star, double_star;  // may be null
};
struct Call {
  ExpressionPtr callee;
  CallArguments arguments;
};
struct Filter {
  ExpressionPtr input;
  std::string name;
  CallArguments arguments;
};  // input null: a block
struct Test {
  ExpressionPtr input;
  std::string name;
  CallArguments arguments;
};

struct Expression {
  int line = 0;
  int depth = 0;
  std::variant<Constant, Name, ListLiteral, TupleLiteral, DictLiteral, Unary, Binary, Logical,
               Concatenation, Comparison, Conditional, Attribute, Item, Slice, Call, Filter, Test>
      node;
};

/// Left of an assignment: a name, namespace.attribute, or a tuple of targets.
struct Target {
  std::string name, attribute;
  std::vector<Target> items;
  bool is_tuple = false;
};

/// A scope of the template: an index into Template::unset_names.
using FrameId = size_t;

struct Parameter {
  std::string name;
  ExpressionPtr default_value;
};  // may be null
struct MacroBody {
  std::string name;
  std::vector<Parameter> parameters;
  Block body;
  FrameId frame = 0;
  bool uses_caller = false, uses_varargs = false, uses_kwargs = false;
};

struct Data {
  std::string text;
};
struct Print {
  ExpressionPtr value;
};
struct If {
  std::vector<std::pair<ExpressionPtr, Block>> branches;
  Block otherwise;
};
struct For {
  Target target;
  ExpressionPtr iterable, filter;  // filter may be null
  bool recursive = false;
  Block body, otherwise;
  FrameId frame = 0, otherwise_frame = 0;
};
struct Set {
  Target target;
  ExpressionPtr value;
};
struct SetBlock {
  Target target;
  ExpressionPtr filter;
  Block body;
  FrameId frame = 0;
};  // filter may be null
struct FilterBlock {
  ExpressionPtr filter;
  Block body;
  FrameId frame = 0;
};
struct With {
  std::vector<std::pair<Target, ExpressionPtr>> assignments;
  Block body;
  FrameId frame = 0;
};
struct Macro {
  std::shared_ptr<const MacroBody> macro;
};
struct CallBlock {
  ExpressionPtr call;
  std::shared_ptr<const MacroBody> caller;
};
struct Generation {
  Block body;
  FrameId frame = 0;
};
struct Break {};
struct Continue {};

struct Statement {
  int line = 0;
  std::variant<Data, Print, If, For, Set, SetBlock, FilterBlock, With, Macro, CallBlock, Generation,
               Break, Continue>
      node;
};

struct Template {
  Block body;
  /// For each frame (0: the whole template) the names that Jinja's compiler makes local to it and
  /// leaves unset until their assignment, hiding a variable of that name given to the template.
  std::vector<std::vector<std::string>> unset_names;
};

}  // namespace nibble::text::jinja
