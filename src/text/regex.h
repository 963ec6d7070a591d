#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace nibble::text {

/// Half-open byte range of a text.
struct Range {
  size_t begin = 0;
  size_t end = 0;

  bool operator==(const Range&) const = default;
};

/// A pattern in the Ruby syntax of Oniguruma, which tokenizer.json files use.
///
/// The characters that no part of the pattern tells apart are one symbol: the pattern is compiled
/// over at most 256 symbols, and a text is mapped to them before it is searched. So the character
/// classes are exactly those of our Unicode tables, whatever version PCRE2 was built with, and
/// matching never decodes UTF-8.
class Regex {
 public:
  /// Throws Error naming `origin` when the syntax is wrong or not supported.
  Regex(std::string_view pattern, const std::string& origin);

  /// All matches from left to right, by the rules of Oniguruma's `find_iter`: no empty match
  /// directly behind a match. Throws Error when PCRE2's limits on work or memory are exceeded.
  std::vector<Range> find_all(std::string_view text) const;

 private:
  struct Program;
  std::shared_ptr<const Program> program_;
};

}  // namespace nibble::text
