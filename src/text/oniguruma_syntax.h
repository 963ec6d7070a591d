#pragma once

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "code_points.h"

namespace nibble::text {

/// A parsed pattern: operators of the common syntax, verbatim, and sets of characters.
struct PatternPart {
  std::variant<std::string, CodePointSet> content;
};

/// Parses the subset of Oniguruma's Ruby syntax that means the same in PCRE2 once characters are
/// sets. Throws Error naming `origin` and the construct for anything else.
/// One thing differs: (?i) pairs single characters only, so "ss" is not the sharp s.
std::vector<PatternPart> parse_oniguruma(std::string_view pattern, const std::string& origin);

}  // namespace nibble::text
