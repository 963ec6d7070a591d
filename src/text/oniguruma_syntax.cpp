#include "oniguruma_syntax.h"

#include <nibble/core/error.h>

#include <utf8proc.h>

#include <optional>

#include "utf8.h"

namespace nibble::text {
namespace {

constexpr int kMaxNesting = 64;

/// The members of `set` and the characters with the same simple case folding.
CodePointSet fold_case(const CodePointSet& set) {
  CodePointSet folded = set;
  for (const auto& [first, last] : set.ranges()) {
    for (char32_t code = first; code <= last; ++code) {
      for (const auto mapped : {utf8proc_tolower(static_cast<utf8proc_int32_t>(code)),
                                utf8proc_toupper(static_cast<utf8proc_int32_t>(code))}) {
        folded.insert(static_cast<char32_t>(mapped), static_cast<char32_t>(mapped));
      }
    }
  }
  // Letters that share a folding with an ASCII letter but are not its simple case mapping.
  constexpr std::pair<char32_t, char32_t> kSpecial[] = {
      {'s', 0x17F}, {'k', 0x212A}, {0xE5, 0x212B}};
  for (const auto& [letter, variant] : kSpecial) {
    if (folded.contains(letter)) {
      folded.insert(variant, variant);
    }
  }
  return folded;
}

/// Outside of brackets Oniguruma's \w has the superscript digits and fractions of Latin-1 too.
const CodePointSet& unbracketed_word() {
  static const CodePointSet set = [] {
    CodePointSet result = CodePointSet::word();
    result.insert(CodePointSet{{0xB2, 0xB3}, {0xB9, 0xB9}, {0xBC, 0xBE}});
    return result;
  }();
  return set;
}

class Parser {
 public:
  Parser(std::string_view pattern, const std::string& origin) : text_(pattern), origin_(origin) {}

  std::vector<PatternPart> parse() {
    while (pos_ < text_.size()) {
      parse_item();
    }
    if (!group_ignores_case_.empty()) {
      unsupported("a group that is not closed");
    }
    return std::move(parts_);
  }

 private:
  [[noreturn]] void unsupported(std::string_view what) const {
    fail(origin_, ": the pattern \"", text_, "\" has ", what, " at byte ", pos_,
         ", which is not supported");
  }

  bool accept(std::string_view token) {
    const bool found = text_.substr(pos_).starts_with(token);
    pos_ += found ? token.size() : 0;
    return found;
  }

  char32_t take() {
    if (pos_ >= text_.size()) {
      unsupported("an end inside a construct");
    }
    return next_code_point(text_, pos_);
  }

  void emit(std::string_view operators) { parts_.push_back({std::string(operators)}); }
  void emit(const CodePointSet& set) { parts_.push_back({set}); }

  void parse_item() {
    const char32_t code = take();
    switch (code) {
      case '\\':
        parse_escape();
        break;
      case '[':
        emit(parse_class(0));
        break;
      case '(':
        parse_group();
        break;
      case ')':
        close_group();
        break;
      case '{':
        parse_interval();
        break;
      case '.':
        emit(CodePointSet{{'\n', '\n'}}.complement());
        break;
      case '|':
      case '*':
      case '+':
      case '?':
      case '^':
      case '$':
        emit(text_.substr(pos_ - 1, 1));
        break;
      default:
        emit(literal(code));
    }
  }

  CodePointSet literal(char32_t code) const {
    const CodePointSet set = {{code, code}};
    return ignores_case_ ? fold_case(set) : set;
  }

  void parse_group() {
    group_ignores_case_.push_back(ignores_case_);
    if (group_ignores_case_.size() > kMaxNesting) {
      unsupported("more than 64 nested groups");
    }
    if (text_.substr(pos_).starts_with("?i") || text_.substr(pos_).starts_with("?-i")) {
      parse_case_option();
      return;
    }
    for (const std::string_view kind : {"?:", "?=", "?!", "?>", "?<=", "?<!"}) {
      if (accept(kind)) {
        emit("(" + std::string(kind));
        return;
      }
    }
    if (text_.substr(pos_).starts_with("?")) {
      unsupported("an extended group");
    }
    emit("(?:");
  }

  void parse_case_option() {
    const size_t begin = pos_ - 1;
    const bool on = accept("?i");
    if (!on) {
      accept("?-i");
    }
    if (accept(":")) {
      emit("(?:");
      ignores_case_ = on;
      return;
    }
    // Without a colon Ruby's option encloses all that follows, alternatives included.
    if (begin != 0 || !accept(")")) {
      unsupported("an option that is not (?i:...) or a leading (?i)");
    }
    group_ignores_case_.pop_back();
    ignores_case_ = on;
  }

  void close_group() {
    if (group_ignores_case_.empty()) {
      unsupported("a closing parenthesis without an opening one");
    }
    ignores_case_ = group_ignores_case_.back();
    group_ignores_case_.pop_back();
    emit(")");
  }

  /// {n}, {n,}, {,m} or {n,m}, lazy or greedy; any other brace is a literal.
  void parse_interval() {
    const size_t begin = pos_;
    const auto digits = [&] {
      const size_t first = pos_;
      while (pos_ < text_.size() && text_[pos_] >= '0' && text_[pos_] <= '9') {
        ++pos_;
      }
      return std::string(text_.substr(first, pos_ - first));
    };
    const std::string low = digits();
    const bool comma = accept(",");
    const std::string high = comma ? digits() : "";
    if ((low.empty() && high.empty()) || !accept("}")) {
      pos_ = begin;
      emit(literal('{'));
      return;
    }
    // In Ruby these are a second repetition; in PCRE2 they are possessive and lazy.
    const std::string_view rest = text_.substr(pos_);
    if (rest.starts_with("+") || (!comma && rest.starts_with("?"))) {
      unsupported("a repeated interval");
    }
    emit("{" + (low.empty() ? "0" : low) + (comma ? "," : "") + high + "}");
  }

  void parse_escape() {
    const size_t begin = pos_;
    const char32_t code = take();
    switch (code) {
      case 'A':
      case 'z':
      case 'Z':
      case 'G':
        emit("\\" + std::string(1, static_cast<char>(code)));
        return;
      case 'b':
        emit_word_boundary("|");
        return;
      case 'B':
        emit_word_boundary("");
        return;
      case 'R':
        emit("(?>");
        emit(CodePointSet{{'\r', '\r'}});
        emit(CodePointSet{{'\n', '\n'}});
        emit("|");
        emit(CodePointSet{{0x0A, 0x0D}, {0x85, 0x85}, {0x2028, 0x2029}});
        emit(")");
        return;
      default:
        pos_ = begin;
    }
    if (const auto set = parse_class_escape(unbracketed_word())) {
      emit(*set);
    } else {
      emit(literal(parse_character_escape()));
    }
  }

  /// \b is a change between word and non-word, \B is none.
  void emit_word_boundary(std::string_view kind) {
    const CodePointSet& word = unbracketed_word();
    const bool boundary = !kind.empty();
    emit("(?:(?<=");
    emit(word);
    emit(boundary ? ")(?!" : ")(?=");
    emit(word);
    emit(")|(?<!");
    emit(word);
    emit(boundary ? ")(?=" : ")(?!");
    emit(word);
    emit("))");
  }

  /// \s \d \w \h \p{..} and their complements, behind the backslash; nothing for other escapes.
  std::optional<CodePointSet> parse_class_escape(const CodePointSet& word) {
    const size_t begin = pos_;
    const char32_t code = take();
    switch (code) {
      case 's':
        return CodePointSet::white_space();
      case 'S':
        return CodePointSet::white_space().complement();
      case 'd':
        return CodePointSet::category("Nd");
      case 'D':
        return CodePointSet::category("Nd").complement();
      case 'w':
        return word;
      case 'W':
        return word.complement();
      case 'h':
        return CodePointSet{{'0', '9'}, {'A', 'F'}, {'a', 'f'}};
      case 'H':
        return CodePointSet{{'0', '9'}, {'A', 'F'}, {'a', 'f'}}.complement();
      case 'p':
        return parse_property(false);
      case 'P':
        return parse_property(true);
      default:
        pos_ = begin;
        return std::nullopt;
    }
  }

  CodePointSet parse_property(bool negated) {
    const size_t close = text_.find('}', pos_);
    if (!accept("{") || close == std::string_view::npos) {
      unsupported("a property without braces");
    }
    negated ^= accept("^");
    const std::string_view name = text_.substr(pos_, close - pos_);
    const CodePointSet set = name.empty() ? CodePointSet() : CodePointSet::category(name);
    if (set.ranges().empty()) {
      unsupported("a property that is not a general category");
    }
    pos_ = close + 1;
    return negated ? set.complement() : set;
  }

  char32_t parse_character_escape() {
    const char32_t code = take();
    switch (code) {
      case 'n':
        return '\n';
      case 'r':
        return '\r';
      case 't':
        return '\t';
      case 'f':
        return '\f';
      case 'v':
        return '\v';
      case 'a':
        return '\a';
      case 'e':
        return 0x1B;
      case 'u':
        return parse_hex(4);
      case 'x':
        return accept("{") ? parse_hex(0) : parse_hex(2);
      default:
        break;
    }
    if ((code >= '0' && code <= '9') || (code >= 'a' && code <= 'z') ||
        (code >= 'A' && code <= 'Z')) {
      unsupported("an escape");
    }
    return code;
  }

  /// `digits` hexadecimal digits, or as many as stand before "}" when `digits` is 0.
  char32_t parse_hex(size_t digits) {
    const size_t end = digits != 0 ? pos_ + digits : text_.find('}', pos_);
    if (end > text_.size() || end - pos_ > 8 || end == pos_) {
      unsupported("a hexadecimal escape");
    }
    uint64_t code = 0;
    for (; pos_ < end; ++pos_) {
      const auto digit = std::string_view("0123456789abcdef").find(text_[pos_] | 0x20);
      if (digit == std::string_view::npos || text_[pos_] < '0') {
        unsupported("a hexadecimal escape");
      }
      code = code * 16 + digit;
    }
    pos_ += digits == 0 ? 1 : 0;
    const bool is_raw_byte = digits == 2 && code >= 0x80;
    if (code > 0x10FFFF || is_raw_byte) {
      unsupported("a hexadecimal escape");
    }
    return static_cast<char32_t>(code);
  }

  /// A bracket class, behind its "[".
  CodePointSet parse_class(int depth) {
    if (depth > kMaxNesting) {
      unsupported("more than 64 nested classes");
    }
    const bool negated = accept("^");
    CodePointSet set;
    std::optional<CodePointSet> left;  // operand of &&
    bool first = true;
    while (first || !accept("]")) {
      if (accept("&&")) {
        left = left ? left->intersection(set) : set;
        set = CodePointSet();
      } else {
        insert_class_item(set, depth);
      }
      first = false;
    }
    if (left) {
      set = left->intersection(set);
    }
    if (ignores_case_) {
      set = fold_case(set);
    }
    return negated ? set.complement() : set;
  }

  void insert_class_item(CodePointSet& set, int depth) {
    if (text_.substr(pos_).starts_with("[:")) {
      unsupported("a POSIX bracket");
    }
    if (accept("[")) {
      set.insert(parse_class(depth + 1));
      return;
    }
    if (accept("\\")) {
      if (const auto escaped = parse_class_escape(CodePointSet::word())) {
        set.insert(*escaped);
        return;
      }
      insert_class_range(set, accept("b") ? 0x08 : parse_character_escape());
      return;
    }
    insert_class_range(set, take());
  }

  /// `first` alone, or the range that a "-" and a further character make of it.
  void insert_class_range(CodePointSet& set, char32_t first) {
    char32_t last = first;
    const bool is_range = text_.substr(pos_).starts_with("-") &&
                          !text_.substr(pos_).starts_with("-]") &&
                          !text_.substr(pos_).starts_with("-[");
    if (is_range && accept("-")) {
      last = take();
      if (last == '\\') {
        last = accept("b") ? 0x08 : parse_character_escape();
      }
    }
    if (last < first) {
      unsupported("a range whose end is before its begin");
    }
    set.insert(first, last);
  }

  std::string_view text_;
  const std::string& origin_;
  size_t pos_ = 0;
  bool ignores_case_ = false;
  std::vector<bool> group_ignores_case_;  // the setting to return to at each open group's end
  std::vector<PatternPart> parts_;
};

}  // namespace

std::vector<PatternPart> parse_oniguruma(std::string_view pattern, const std::string& origin) {
  return Parser(pattern, origin).parse();
}

}  // namespace nibble::text
