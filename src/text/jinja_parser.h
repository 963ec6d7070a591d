#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "jinja_ast.h"
#include "jinja_frames.h"
#include "jinja_lexer.h"

namespace nibble::text::jinja {

/// Recursive descent over the tokens, with the grammar of Jinja 3.1's parser.py and the checks that
/// its compiler makes. Throws Error with the line.
class Parser {
 public:
  explicit Parser(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  Template parse();

 private:
  using Names = std::initializer_list<std::string_view>;

  // jinja_parser.cpp: statements
  Block parse_block(Names end_names);
  /// The body of a tag up to one of `end_names`, whose name token is consumed and returned.
  std::string parse_body(Names end_names, Block& body);
  Statement parse_statement();
  Statement parse_for(int line);
  Statement parse_if(int line);
  Statement parse_set(int line);
  Statement parse_with(int line);
  Statement parse_macro(int line);
  Statement parse_call_block(int line);
  Statement parse_filter_block(int line);
  Statement parse_generation(int line);
  Statement parse_loop_control(int line, bool is_break);
  void parse_parameters(MacroBody& macro);
  void parse_macro_body(MacroBody& macro, std::string_view end_name);
  Target parse_target(bool with_namespace, bool stops_at_in);
  Target parse_single_target(bool with_namespace);
  enum class Binding { kStore, kParameter };
  void record_target(const Target& target, Binding binding, int line);

  // jinja_expression_parser.cpp
  ExpressionPtr parse_tuple(bool with_conditional, Names end_names = {},
                            bool parenthesized = false);
  bool at_tuple_end(Names end_names) const;
  ExpressionPtr parse_expression(bool with_conditional = true);
  /// The values of a print tag as one text.
  ExpressionPtr parse_print_list();
  ExpressionPtr parse_conditional();
  ExpressionPtr parse_or();
  ExpressionPtr parse_and();
  ExpressionPtr parse_not();
  ExpressionPtr parse_comparison();
  ExpressionPtr parse_sum();
  ExpressionPtr parse_concatenation();
  ExpressionPtr parse_product();
  ExpressionPtr parse_power();
  ExpressionPtr parse_unary(bool with_filter = true);
  ExpressionPtr parse_primary();
  ExpressionPtr parse_name();
  ExpressionPtr parse_list();
  ExpressionPtr parse_dict();
  ExpressionPtr parse_postfix(ExpressionPtr node);
  ExpressionPtr parse_filters_and_tests(ExpressionPtr node);
  ExpressionPtr parse_subscript(ExpressionPtr node);
  ExpressionPtr parse_attribute(ExpressionPtr node);
  ExpressionPtr parse_slice(ExpressionPtr node, ExpressionPtr start);
  ExpressionPtr parse_call(ExpressionPtr callee);
  CallArguments parse_arguments();
  void parse_argument(CallArguments& arguments);
  /// `node` null and the '|' already consumed: the first filter of a filter block.
  ExpressionPtr parse_filter(ExpressionPtr node);
  ExpressionPtr parse_test(ExpressionPtr node);
  template <class Node>
  ExpressionPtr make(int line, Node node);

  const Token& current() const { return tokens_[at_]; }
  const Token& ahead() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  Token take();
  bool take_operator(std::string_view op);
  bool take_name(std::string_view name);
  void expect_operator(std::string_view op);
  void expect(TokenKind kind, std::string_view what);
  std::string expect_name(std::string_view what);
  [[noreturn]] void fail_unexpected(std::string_view expected) const;

  /// Bounds the recursion of the parser, the interpreter and the destructors.
  class Nesting {
   public:
    explicit Nesting(Parser& parser);
    ~Nesting() { --parser_.nesting_; }

   private:
    Parser& parser_;
  };

  /// A filter or test that does not exist is an error when the template is compiled, or, inside an
  /// `if` of the same scope, only when it is reached.
  struct UnknownName {
    std::string message;
    int line;
    int scope;
    bool deferred;
  };
  void check_known(bool known, std::string_view what, const std::string& name, int line);
  void defer_unknown_since(size_t first);

  FrameId open_frame();
  void close_frame();

  std::vector<Token> tokens_;
  size_t at_ = 0;
  FrameTracker frames_;
  std::vector<UnknownName> unknown_;
  std::vector<MacroBody*> macros_;  // being parsed, outermost first
  int nesting_ = 0;
  int scope_depth_ = 0;
  int loop_depth_ = 0;        // enclosing loops that break and continue can reach
  int total_loop_depth_ = 0;  // all enclosing loops
};

}  // namespace nibble::text::jinja
