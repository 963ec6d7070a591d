#include "jinja_parser.h"

#include <algorithm>

namespace nibble::text::jinja {
namespace {

std::string join_names(std::initializer_list<std::string_view> names) {
  std::string out;
  for (const std::string_view name : names) {
    out += (out.empty() ? "'" : " or '") + std::string(name) + "'";
  }
  return out;
}

}  // namespace

Parser::Nesting::Nesting(Parser& parser) : parser_(parser) {
  if (++parser_.nesting_ > kMaxSyntaxDepth) {
    fail_at(parser_.current().line,
            "more than " + std::to_string(kMaxSyntaxDepth) + " levels of nesting");
  }
}

Token Parser::take() {
  Token token = tokens_[at_];
  if (at_ + 1 < tokens_.size()) {
    ++at_;
  }
  return token;
}

bool Parser::take_operator(std::string_view op) {
  const bool found = current().is_operator(op);
  if (found) {
    take();
  }
  return found;
}

bool Parser::take_name(std::string_view name) {
  const bool found = current().is_name(name);
  if (found) {
    take();
  }
  return found;
}

void Parser::fail_unexpected(std::string_view expected) const {
  fail_at(current().line, "expected " + std::string(expected) + ", got " + describe(current()));
}

void Parser::expect_operator(std::string_view op) {
  if (!take_operator(op)) {
    fail_unexpected("'" + std::string(op) + "'");
  }
}

void Parser::expect(TokenKind kind, std::string_view what) {
  if (current().kind != kind) {
    fail_unexpected(what);
  }
  take();
}

std::string Parser::expect_name(std::string_view what) {
  if (current().kind != TokenKind::kName) {
    fail_unexpected(what);
  }
  return take().text;
}

void Parser::check_known(bool known, std::string_view what, const std::string& name, int line) {
  if (!known) {
    unknown_.push_back(
        {"no " + std::string(what) + " named '" + name + "'", line, scope_depth_, false});
  }
}

void Parser::defer_unknown_since(size_t first) {
  for (size_t i = first; i < unknown_.size(); ++i) {
    unknown_[i].deferred = unknown_[i].deferred || unknown_[i].scope == scope_depth_;
  }
}

FrameId Parser::open_frame() {
  ++scope_depth_;
  return frames_.open();
}

void Parser::close_frame() {
  --scope_depth_;
  frames_.close();
}

Template Parser::parse() {
  frames_.open();
  Template result;
  result.body = parse_block({});
  for (const UnknownName& unknown : unknown_) {
    if (!unknown.deferred) {
      fail_at(unknown.line, unknown.message);
    }
  }
  result.unset_names = frames_.unset_names();
  return result;
}

Block Parser::parse_block(Names end_names) {
  const Nesting nesting(*this);
  Block body;
  while (current().kind != TokenKind::kEnd) {
    const int line = current().line;
    if (current().kind == TokenKind::kData) {
      body.push_back({line, Data{take().text}});
    } else if (current().kind == TokenKind::kVariableBegin) {
      take();
      body.push_back({line, Print{parse_tuple(true)}});
      expect(TokenKind::kVariableEnd, "'}}'");
    } else {
      expect(TokenKind::kBlockBegin, "'{%'");
      const bool ends = std::any_of(end_names.begin(), end_names.end(),
                                    [&](std::string_view name) { return current().is_name(name); });
      if (ends) {
        return body;
      }
      body.push_back(parse_statement());
      expect(TokenKind::kBlockEnd, "'%}'");
    }
  }
  if (end_names.size() != 0) {
    fail_at(current().line, "unexpected end of template, looking for " + join_names(end_names));
  }
  return body;
}

std::string Parser::parse_body(Names end_names, Block& body) {
  take_operator(":");
  expect(TokenKind::kBlockEnd, "'%}'");
  body = parse_block(end_names);
  return take().text;
}

Statement Parser::parse_statement() {
  const int line = current().line;
  const std::string tag = expect_name("a tag name");
  if (tag == "for") return parse_for(line);
  if (tag == "if") return parse_if(line);
  if (tag == "set") return parse_set(line);
  if (tag == "with") return parse_with(line);
  if (tag == "macro") return parse_macro(line);
  if (tag == "call") return parse_call_block(line);
  if (tag == "filter") return parse_filter_block(line);
  if (tag == "generation") return parse_generation(line);
  if (tag == "break" || tag == "continue") return parse_loop_control(line, tag == "break");
  if (tag == "print") return {line, Print{parse_print_list()}};
  fail_at(line, "unknown or unsupported tag '" + tag +
                    "' (supported: for, if, set, with, macro, call, filter, generation, break, "
                    "continue, print, raw)");
}

Statement Parser::parse_for(int line) {
  For node;
  const Target target = parse_target(false, true);
  if (!take_name("in")) {
    fail_unexpected("'in'");
  }
  node.iterable = parse_tuple(false, {"recursive"});
  if (take_name("if")) {
    open_frame();
    record_target(target, Binding::kParameter, line);
    node.filter = parse_expression();
    close_frame();
  }
  node.recursive = take_name("recursive");
  node.target = target;

  node.frame = open_frame();
  frames_.declare("loop");
  ++loop_depth_;
  ++total_loop_depth_;
  record_target(target, Binding::kParameter, line);
  const std::string end = parse_body({"endfor", "else"}, node.body);
  --loop_depth_;
  close_frame();
  node.otherwise_frame = open_frame();
  if (end == "else") {
    parse_body({"endfor"}, node.otherwise);
  }
  close_frame();
  --total_loop_depth_;
  return {line, std::move(node)};
}

Statement Parser::parse_if(int line) {
  If node;
  const size_t first_unknown = unknown_.size();
  std::string next;
  do {
    ExpressionPtr test = parse_tuple(false);
    frames_.enter_if();
    Block body;
    next = parse_body({"elif", "else", "endif"}, body);
    frames_.leave_if();
    node.branches.emplace_back(std::move(test), std::move(body));
  } while (next == "elif");
  if (next == "else") {
    frames_.enter_if();
    parse_body({"endif"}, node.otherwise);
    frames_.leave_if();
  }
  defer_unknown_since(first_unknown);
  return {line, std::move(node)};
}

Statement Parser::parse_set(int line) {
  Target target = parse_target(true, false);
  if (take_operator("=")) {
    ExpressionPtr value = parse_tuple(true);
    record_target(target, Binding::kStore, line);
    return {line, Set{std::move(target), std::move(value)}};
  }
  SetBlock node;
  record_target(target, Binding::kStore, line);
  node.target = std::move(target);
  node.frame = open_frame();
  while (take_operator("|")) {
    node.filter = parse_filter(std::move(node.filter));
  }
  parse_body({"endset"}, node.body);
  close_frame();
  return {line, std::move(node)};
}

Statement Parser::parse_with(int line) {
  With node;
  while (current().kind != TokenKind::kBlockEnd) {
    if (!node.assignments.empty()) {
      expect_operator(",");
    }
    Target target = parse_target(false, false);
    expect_operator("=");
    ExpressionPtr value = parse_expression();
    node.assignments.emplace_back(std::move(target), std::move(value));
  }
  node.frame = open_frame();
  for (const auto& [target, value] : node.assignments) {
    record_target(target, Binding::kParameter, line);
  }
  parse_body({"endwith"}, node.body);
  close_frame();
  return {line, std::move(node)};
}

void Parser::parse_parameters(MacroBody& macro) {
  expect_operator("(");
  while (!current().is_operator(")")) {
    if (!macro.parameters.empty()) {
      expect_operator(",");
    }
    Parameter parameter{expect_name("a parameter name"), nullptr};
    if (macro.parameters.size() == kMaxNames) {
      fail_at(current().line, "a macro has more than " + std::to_string(kMaxNames) + " parameters");
    }
    for (const Parameter& other : macro.parameters) {
      if (other.name == parameter.name) {
        fail_at(current().line, "the parameter '" + parameter.name + "' is named twice");
      }
    }
    frames_.declare(parameter.name);
    if (take_operator("=")) {
      parameter.default_value = parse_expression();
    } else if (!macro.parameters.empty() && macro.parameters.back().default_value) {
      fail_at(current().line, "a parameter without default follows one with a default");
    }
    macro.parameters.push_back(std::move(parameter));
  }
  expect_operator(")");
}

void Parser::parse_macro_body(MacroBody& macro, std::string_view end_name) {
  const int outer_loops = std::exchange(loop_depth_, 0);
  macros_.push_back(&macro);
  parse_body({end_name}, macro.body);
  macros_.pop_back();
  for (const Parameter& parameter : macro.parameters) {
    if (parameter.name == "caller" && macro.uses_caller && !parameter.default_value) {
      fail_at(current().line, "the parameter 'caller' of a macro needs a default");
    }
  }
  loop_depth_ = outer_loops;
}

Statement Parser::parse_macro(int line) {
  auto macro = std::make_shared<MacroBody>();
  macro->name = expect_name("a macro name");
  frames_.store(macro->name);
  macro->frame = open_frame();
  parse_parameters(*macro);
  parse_macro_body(*macro, "endmacro");
  close_frame();
  return {line, Macro{std::move(macro)}};
}

Statement Parser::parse_call_block(int line) {
  auto caller = std::make_shared<MacroBody>();
  caller->name = "caller";
  caller->frame = open_frame();
  if (current().is_operator("(")) {
    parse_parameters(*caller);
  }
  close_frame();
  ExpressionPtr call = parse_expression();
  if (!std::holds_alternative<Call>(call->node)) {
    fail_at(line, "the call tag needs a call");
  }
  frames_.reopen(caller->frame);
  ++scope_depth_;
  parse_macro_body(*caller, "endcall");
  close_frame();
  return {line, CallBlock{std::move(call), std::move(caller)}};
}

Statement Parser::parse_filter_block(int line) {
  FilterBlock node;
  node.frame = open_frame();
  node.filter = parse_filter(nullptr);
  while (take_operator("|")) {
    node.filter = parse_filter(std::move(node.filter));
  }
  parse_body({"endfilter"}, node.body);
  close_frame();
  return {line, std::move(node)};
}

Statement Parser::parse_generation(int line) {
  Generation node;
  const int outer_loops = std::exchange(loop_depth_, 0);
  node.frame = open_frame();
  if (current().kind != TokenKind::kBlockEnd && !current().is_operator(":")) {
    fail_unexpected("'%}'");
  }
  parse_body({"endgeneration"}, node.body);
  close_frame();
  loop_depth_ = outer_loops;
  return {line, std::move(node)};
}

Statement Parser::parse_loop_control(int line, bool is_break) {
  if (loop_depth_ == 0) {
    fail_at(line, std::string(is_break ? "break" : "continue") + " outside of a loop");
  }
  return is_break ? Statement{line, Break{}} : Statement{line, Continue{}};
}

Target Parser::parse_single_target(bool with_namespace) {
  if (take_operator("(")) {
    const Nesting nesting(*this);
    Target tuple = parse_target(with_namespace, false);
    expect_operator(")");
    return tuple;
  }
  const int line = current().line;
  Target target;
  target.name = expect_name("a name to assign to");
  static constexpr std::string_view kReserved[] = {"true",  "True", "false",
                                                   "False", "none", "None"};
  if (std::find(std::begin(kReserved), std::end(kReserved), target.name) != std::end(kReserved)) {
    fail_at(line, "cannot assign to '" + target.name + "'");
  }
  if (with_namespace && take_operator(".")) {
    target.attribute = expect_name("an attribute name");
  }
  return target;
}

Target Parser::parse_target(bool with_namespace, bool stops_at_in) {
  Target tuple;
  while (true) {
    const bool ends = current().kind == TokenKind::kBlockEnd || current().is_operator(")") ||
                      current().is_operator("=") || (stops_at_in && current().is_name("in"));
    if (ends && !tuple.items.empty()) {
      break;
    }
    tuple.items.push_back(parse_single_target(with_namespace));
    if (!take_operator(",")) {
      break;
    }
    tuple.is_tuple = true;
  }
  return tuple.is_tuple ? tuple : std::move(tuple.items.front());
}

void Parser::record_target(const Target& target, Binding binding, int line) {
  for (const Target& item : target.items) {
    record_target(item, binding, line);
  }
  if (target.is_tuple) {
    return;
  }
  if (!target.attribute.empty()) {
    frames_.load(target.name);
  } else if (target.name == "loop" && total_loop_depth_ > 0) {
    fail_at(line, "cannot assign to the special variable 'loop' inside a loop");
  } else if (binding == Binding::kParameter) {
    frames_.declare(target.name);
  } else {
    frames_.store(target.name);
  }
}

}  // namespace nibble::text::jinja
