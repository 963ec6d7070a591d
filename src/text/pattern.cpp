#include "pattern.h"

#include <algorithm>

#include "utf8.h"

namespace nibble::text {
namespace {

struct Part {
  Range range;
  bool is_match;
};

/// Matches and gaps in order, covering `text`.
std::vector<Part> alternate(std::string_view text, const std::vector<Range>& matches,
                            bool inverted) {
  std::vector<Part> parts;
  parts.reserve(2 * matches.size() + 1);
  size_t previous = 0;
  for (const Range& match : matches) {
    if (previous != match.begin) {
      parts.push_back({{previous, match.begin}, inverted});
    }
    parts.push_back({match, !inverted});
    previous = match.end;
  }
  if (previous != text.size()) {
    parts.push_back({{previous, text.size()}, inverted});
  }
  return parts;
}

/// Joins a part to the one before it where `joins(is_match, previous_is_match)`.
template <class Joins>
std::vector<Range> join(const std::vector<Part>& parts, Joins joins) {
  std::vector<Range> pieces;
  bool previous = false;
  for (const auto& [range, is_match] : parts) {
    if (joins(is_match, previous) && !pieces.empty()) {
      pieces.back() = {std::min(pieces.back().begin, range.begin),
                       std::max(pieces.back().end, range.end)};
    } else {
      pieces.push_back(range);
    }
    previous = is_match;
  }
  return pieces;
}

bool match_behind_gap(bool is_match, bool previous) { return is_match && !previous; }

}  // namespace

Pattern character_pattern(bool (*predicate)(char32_t)) {
  return [predicate](std::string_view text) {
    std::vector<Range> matches;
    for (size_t pos = 0; pos < text.size();) {
      const size_t begin = pos;
      if (predicate(next_code_point(text, pos))) {
        matches.push_back({begin, pos});
      }
    }
    return matches;
  };
}

Pattern literal_pattern(std::string literal) {
  return [literal = std::move(literal)](std::string_view text) {
    std::vector<Range> matches;
    for (size_t pos = text.find(literal); pos != std::string_view::npos;
         pos = text.find(literal, pos + literal.size())) {
      matches.push_back({pos, pos + literal.size()});
    }
    return matches;
  };
}

Pattern read_pattern(const JsonNode& node) {
  if (const auto regex = node.find("Regex")) {
    return [regex = Regex(regex->string(), regex->path())](std::string_view text) {
      return regex.find_all(text);
    };
  }
  if (const auto literal = node.find("String")) {
    if (literal->string().empty()) {
      literal->fail("an empty pattern is not supported");
    }
    return literal_pattern(literal->string());
  }
  node.fail("expected {\"String\": ...} or {\"Regex\": ...}");
}

SplitBehavior read_split_behavior(const JsonNode& node) {
  constexpr std::pair<std::string_view, SplitBehavior> kNames[] = {
      {"Removed", SplitBehavior::kRemoved},
      {"Isolated", SplitBehavior::kIsolated},
      {"MergedWithPrevious", SplitBehavior::kMergedWithPrevious},
      {"MergedWithNext", SplitBehavior::kMergedWithNext},
      {"Contiguous", SplitBehavior::kContiguous},
  };
  const std::string name = node.string();
  for (const auto& [known, behavior] : kNames) {
    if (name == known) {
      return behavior;
    }
  }
  node.fail("unknown split behavior \"", name,
            "\"; allowed are Removed, Isolated, MergedWithPrevious, MergedWithNext, Contiguous");
}

std::vector<Range> split(std::string_view text, const std::vector<Range>& matches, bool inverted,
                         SplitBehavior behavior) {
  std::vector<Part> parts = alternate(text, matches, inverted);
  std::vector<Range> pieces;
  switch (behavior) {
    case SplitBehavior::kRemoved:
      std::erase_if(parts, [](const Part& part) { return part.is_match; });
      [[fallthrough]];
    case SplitBehavior::kIsolated:
      pieces = join(parts, [](bool, bool) { return false; });
      break;
    case SplitBehavior::kContiguous:
      pieces = join(parts, [](bool is_match, bool previous) { return is_match == previous; });
      break;
    case SplitBehavior::kMergedWithPrevious:
      pieces = join(parts, match_behind_gap);
      break;
    case SplitBehavior::kMergedWithNext:
      std::reverse(parts.begin(), parts.end());
      pieces = join(parts, match_behind_gap);
      std::reverse(pieces.begin(), pieces.end());
      break;
  }
  std::erase_if(pieces, [](const Range& piece) { return piece.begin == piece.end; });
  return pieces;
}

}  // namespace nibble::text
