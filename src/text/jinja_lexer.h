#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "jinja_value.h"

namespace nibble::text::jinja {

enum class TokenKind {
  kData,
  kVariableBegin,
  kVariableEnd,
  kBlockBegin,
  kBlockEnd,
  kName,
  kString,
  kInteger,
  kFloat,
  kOperator,
  kEnd
};

struct Token {
  TokenKind kind = TokenKind::kEnd;
  int line = 1;
  std::string text;  // template data, name, operator or the decoded string
  Value number;

  bool is_operator(std::string_view op) const { return kind == TokenKind::kOperator && text == op; }
  bool is_name(std::string_view name) const { return kind == TokenKind::kName && text == name; }
};

/// Splits a template as Jinja 3.1 does with trim_blocks, lstrip_blocks and without
/// keep_trailing_newline: white space control is already applied to the data tokens, comments are
/// gone. The last token is kEnd. Throws Error with the line.
std::vector<Token> tokenize(std::string_view source);

/// What a token is called in messages.
std::string describe(const Token& token);

[[noreturn]] void fail_at(int line, const std::string& message);

}  // namespace nibble::text::jinja
