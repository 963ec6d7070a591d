#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "json_node.h"
#include "regex.h"

namespace nibble::text {

/// Finds the parts of a text that match, from left to right.
using Pattern = std::function<std::vector<Range>(std::string_view text)>;

/// Every character that satisfies `predicate`, each a match of its own.
Pattern character_pattern(bool (*predicate)(char32_t));
/// The occurrences of `literal`, which is not empty, that do not overlap.
Pattern literal_pattern(std::string literal);
/// {"String": ...} or {"Regex": ...}, as Split and Replace hold it.
Pattern read_pattern(const JsonNode& node);

/// What a split does with the matches.
enum class SplitBehavior { kRemoved, kIsolated, kMergedWithPrevious, kMergedWithNext, kContiguous };

/// Throws Error for an unknown name.
SplitBehavior read_split_behavior(const JsonNode& node);

/// Cuts `text` at the matches; `inverted` takes the gaps for the matches. Empty parts are left out.
std::vector<Range> split(std::string_view text, const std::vector<Range>& matches, bool inverted,
                         SplitBehavior behavior);

}  // namespace nibble::text
