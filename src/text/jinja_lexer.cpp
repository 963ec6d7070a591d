#include "jinja_lexer.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "jinja_string_literal.h"
#include "jinja_strings.h"

namespace nibble::text::jinja {
namespace {

bool is_ascii_digit(char c) { return c >= '0' && c <= '9'; }

std::string normalize_newlines(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      out += '\n';
      i += i + 1 < source.size() && source[i + 1] == '\n' ? 1 : 0;
    } else {
      out += source[i];
    }
  }
  return out;
}

class Lexer {
 public:
  explicit Lexer(std::string source) : source_(std::move(source)) {
    if (source_.ends_with('\n')) {
      source_.pop_back();
    }
  }

  std::vector<Token> run() {
    while (at_ < source_.size()) {
      read_data();
    }
    push(TokenKind::kEnd);
    return std::move(tokens_);
  }

 private:
  std::string_view rest() const { return std::string_view(source_).substr(at_); }
  bool sees(std::string_view text) const { return rest().starts_with(text); }

  void push(TokenKind kind, std::string text = {}, Value number = {}) {
    tokens_.push_back({kind, line_, std::move(text), std::move(number)});
  }

  /// Moves to `end`, counting lines.
  void advance_to(size_t end) {
    line_ += static_cast<int>(std::count(source_.begin() + static_cast<std::ptrdiff_t>(at_),
                                         source_.begin() + static_cast<std::ptrdiff_t>(end), '\n'));
    line_starting_ = end > 0 && end > at_ && source_[end - 1] == '\n';
    at_ = end;
  }

  size_t skip_space(size_t at) const {
    while (at < source_.size() && is_space(code_point_at(source_, at))) {
      at += code_point_bytes(source_, at);
    }
    return at;
  }

  /// The end of `tag` with white space control at `at`: "-tag" eats the space after it, "+tag"
  /// (where allowed) nothing, "tag" one newline (where trimmed). npos where none of them is there.
  size_t match_end(size_t at, std::string_view tag, bool plus_allowed, bool trims_newline) const {
    const std::string_view text = std::string_view(source_).substr(at);
    if (text.starts_with('-') && text.substr(1).starts_with(tag)) {
      return skip_space(at + 1 + tag.size());
    }
    if (plus_allowed && text.starts_with('+') && text.substr(1).starts_with(tag)) {
      return at + 1 + tag.size();
    }
    if (!text.starts_with(tag)) {
      return std::string::npos;
    }
    const size_t end = at + tag.size();
    return end + (trims_newline && end < source_.size() && source_[end] == '\n' ? 1 : 0);
  }

  static std::string_view sign_of(std::string_view text) {
    return text.starts_with('-') || text.starts_with('+') ? text.substr(0, 1) : "";
  }

  /// Emits the text in front of a tag, stripped as the tag's sign and lstrip_blocks say.
  void push_data(size_t end, std::string_view sign, bool is_variable) {
    std::string_view text = std::string_view(source_).substr(at_, end - at_);
    if (sign == "-") {
      text = strip(text, Side::kRight);
    } else if (sign.empty() && !is_variable) {
      const size_t newline = text.rfind('\n');
      const size_t line_begin = newline == std::string_view::npos ? 0 : newline + 1;
      if ((line_begin > 0 || line_starting_) && strip(text.substr(line_begin)).empty()) {
        text = text.substr(0, line_begin);
      }
    }
    if (!text.empty()) {
      push(TokenKind::kData, std::string(text));
    }
    advance_to(end);
  }

  void read_data() {
    size_t begin = source_.find('{', at_);
    while (begin != std::string::npos && begin + 1 < source_.size() &&
           std::string_view("%{#").find(source_[begin + 1]) == std::string_view::npos) {
      begin = source_.find('{', begin + 1);
    }
    if (begin == std::string::npos || begin + 1 >= source_.size()) {
      push(TokenKind::kData, std::string(rest()));
      advance_to(source_.size());
      return;
    }
    const char type = source_[begin + 1];
    const std::string_view sign = sign_of(std::string_view(source_).substr(begin + 2));
    push_data(begin, sign, type == '{');
    const size_t inside = begin + 2 + sign.size();
    if (type == '#') {
      advance_to(inside);
      read_comment();
    } else if (type == '{') {
      push(TokenKind::kVariableBegin);
      advance_to(inside);
      read_expression("}}", TokenKind::kVariableEnd);
    } else if (const size_t raw = match_raw(inside); raw != std::string::npos) {
      advance_to(raw);
      read_raw();
    } else {
      push(TokenKind::kBlockBegin);
      advance_to(inside);
      read_expression("%}", TokenKind::kBlockEnd);
    }
  }

  // As in Jinja, a comment or raw block that ends with the template before any text is no error.
  void read_comment() {
    if (at_ == source_.size()) {
      return;
    }
    for (size_t at = at_; at < source_.size(); ++at) {
      if (const size_t end = match_end(at, "#}", true, true); end != std::string::npos) {
        advance_to(end);
        return;
      }
    }
    fail_at(line_, "missing end of comment tag");
  }

  /// The end of "raw %}" at `at`, npos where something else is there.
  size_t match_raw(size_t at) const {
    at = skip_space(at);
    if (!std::string_view(source_).substr(at).starts_with("raw")) {
      return std::string::npos;
    }
    return match_end(skip_space(at + 3), "%}", false, false);
  }

  void read_raw() {
    if (at_ == source_.size()) {
      return;
    }
    for (size_t begin = source_.find("{%", at_); begin != std::string::npos;
         begin = source_.find("{%", begin + 1)) {
      const std::string_view sign = sign_of(std::string_view(source_).substr(begin + 2));
      const size_t word = skip_space(begin + 2 + sign.size());
      if (!std::string_view(source_).substr(word).starts_with("endraw")) {
        continue;
      }
      const size_t end = match_end(skip_space(word + 6), "%}", true, true);
      if (end != std::string::npos) {
        push_data(begin, sign, false);
        advance_to(end);
        return;
      }
    }
    fail_at(line_, "missing end of raw directive");
  }

  void read_expression(std::string_view end_tag, TokenKind end_kind) {
    const bool is_block = end_kind == TokenKind::kBlockEnd;
    std::string open;  // closing brackets that are due
    while (at_ < source_.size()) {
      if (open.empty()) {
        const size_t end = match_end(at_, end_tag, is_block, is_block);
        if (end != std::string::npos) {
          push(end_kind);
          advance_to(end);
          return;
        }
      }
      if (is_space(code_point_at(source_, at_))) {
        advance_to(skip_space(at_));
      } else {
        read_token(open);
      }
    }
    push(TokenKind::kEnd);
    fail_at(line_, "unexpected end of template inside a tag");
  }

  void read_token(std::string& open) {
    const char c = source_[at_];
    if (is_ascii_digit(c)) {
      read_number();
    } else if (c == '\'' || c == '"') {
      read_string(c);
    } else if (is_identifier_character(code_point_at(source_, at_))) {
      size_t end = at_;
      while (end < source_.size() && is_identifier_character(code_point_at(source_, end))) {
        end += code_point_bytes(source_, end);
      }
      push(TokenKind::kName, source_.substr(at_, end - at_));
      advance_to(end);
    } else {
      read_operator(open);
    }
  }

  /// The end of digits with single underscores between them; `at` where there are none.
  size_t skip_digits(size_t at, std::string_view allowed = "0123456789") const {
    const auto digit = [&](size_t i) {
      return i < source_.size() && allowed.find(source_[i]) != std::string_view::npos;
    };
    if (!digit(at)) {
      return at;
    }
    while (digit(at) || (at < source_.size() && source_[at] == '_' && digit(at + 1))) {
      ++at;
    }
    return at;
  }

  size_t match_float() const {
    if (at_ > 0 && source_[at_ - 1] == '.') {
      return std::string::npos;
    }
    size_t end = skip_digits(at_);
    bool found = false;
    if (end < source_.size() && source_[end] == '.' && skip_digits(end + 1) > end + 1) {
      end = skip_digits(end + 1);
      found = true;
    }
    if (end < source_.size() && (source_[end] == 'e' || source_[end] == 'E')) {
      const bool has_sign =
          end + 1 < source_.size() && (source_[end + 1] == '+' || source_[end + 1] == '-');
      const size_t digits = end + (has_sign ? 2 : 1);
      if (skip_digits(digits) > digits) {
        end = skip_digits(digits);
        found = true;
      }
    }
    return found ? end : std::string::npos;
  }

  void read_number() {
    if (const size_t end = match_float(); end != std::string::npos) {
      std::string text = source_.substr(at_, end - at_);
      std::erase(text, '_');
      push(TokenKind::kFloat, {}, Value::floating(std::strtod(text.c_str(), nullptr)));
      advance_to(end);
      return;
    }
    read_integer();
  }

  void read_integer() {
    size_t end = source_[at_] == '0' ? skip_digits(at_, "0") : skip_digits(at_);
    int base = 10;
    if (source_[at_] == '0' && at_ + 1 < source_.size()) {
      const char mark = static_cast<char>(source_[at_ + 1] | 0x20);
      const int marked = mark == 'b' ? 2 : (mark == 'o' ? 8 : (mark == 'x' ? 16 : 10));
      const std::string_view allowed = marked == 2   ? "01"
                                       : marked == 8 ? "01234567"
                                                     : "0123456789abcdefABCDEF";
      const size_t first = at_ + 2 + (at_ + 2 < source_.size() && source_[at_ + 2] == '_' ? 1 : 0);
      if (marked != 10 && skip_digits(first, allowed) > first) {
        base = marked;
        end = skip_digits(first, allowed);
      }
    }
    const std::string text = source_.substr(at_, end - at_);
    const std::optional<Integer> value = parse_integer(text, base);
    if (!value) {
      fail_at(line_, "the integer " + text + " does not fit 128 bits");
    }
    push(TokenKind::kInteger, text, Value::integer(*value));
    advance_to(end);
  }

  void read_string(char quote) {
    size_t end = at_ + 1;
    while (end < source_.size() && source_[end] != quote) {
      end += source_[end] == '\\' ? 2 : 1;
    }
    if (end >= source_.size()) {
      fail_at(line_, std::string("the string opened with ") + quote + " is not closed");
    }
    std::string text = source_.substr(at_ + 1, end - at_ - 1);
    push(TokenKind::kString, decode_string_literal(text, line_));
    advance_to(end + 1);
  }

  void read_operator(std::string& open) {
    static constexpr std::array<std::string_view, 26> kOperators = {
        "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[",
        "]",  "(",  ")",  "{",  "}",  ">",  "<", "=", ".", ":", "|", ",", ";"};
    const auto found = std::find_if(kOperators.begin(), kOperators.end(),
                                    [&](std::string_view op) { return sees(op); });
    if (found == kOperators.end()) {
      fail_at(line_, "unexpected character " +
                         string_repr(source_.substr(at_, code_point_bytes(source_, at_))));
    }
    balance(*found, open);
    push(TokenKind::kOperator, std::string(*found));
    advance_to(at_ + found->size());
  }

  void balance(std::string_view op, std::string& open) const {
    const size_t opening = std::string_view("([{").find(op);
    if (opening != std::string_view::npos) {
      open += ")]}"[opening];
    } else if (op == ")" || op == "]" || op == "}") {
      if (open.empty() || open.back() != op[0]) {
        fail_at(line_, "unexpected '" + std::string(op) + "'" +
                           (open.empty() ? "" : std::string(", expected '") + open.back() + "'"));
      }
      open.pop_back();
    }
  }

  std::string source_;
  size_t at_ = 0;
  int line_ = 1;
  bool line_starting_ = true;
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> tokenize(std::string_view source) {
  NIBBLE_CHECK(source.size() <= kMaxTemplateBytes, "chat template: ", source.size(),
               " bytes, at most ", kMaxTemplateBytes, " are allowed");
  if (const auto bad = find_ill_formed(source)) {
    fail("chat template: byte ", *bad, " is not UTF-8");
  }
  return Lexer(normalize_newlines(source)).run();
}

std::string describe(const Token& token) {
  switch (token.kind) {
    case TokenKind::kData:
      return "template text";
    case TokenKind::kVariableBegin:
      return "'{{'";
    case TokenKind::kVariableEnd:
      return "'}}'";
    case TokenKind::kBlockBegin:
      return "'{%'";
    case TokenKind::kBlockEnd:
      return "'%}'";
    case TokenKind::kString:
      return "a string";
    case TokenKind::kInteger:
      return "an integer";
    case TokenKind::kFloat:
      return "a float";
    case TokenKind::kEnd:
      return "end of template";
    default:
      return "'" + token.text + "'";
  }
}

void fail_at(int line, const std::string& message) {
  fail("chat template, line ", line, ": ", message);
}

}  // namespace nibble::text::jinja
