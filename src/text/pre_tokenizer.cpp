#include "pre_tokenizer.h"

#include <utility>

#include "byte_level.h"
#include "code_points.h"
#include "normalizer.h"
#include "pattern.h"
#include "utf8.h"

namespace nibble::text {
namespace {

constexpr int kMaxDepth = 32;

void cut(Pieces& pieces, const Pattern& pattern, bool inverted, SplitBehavior behavior) {
  spell_bytes(pieces);
  std::vector<Range> ranges;
  ranges.reserve(pieces.ranges.size());
  for (size_t i = 0; i < pieces.ranges.size(); ++i) {
    const size_t offset = pieces.ranges[i].begin;
    const std::string_view piece = pieces[i];
    for (const auto& [begin, end] : split(piece, pattern(piece), inverted, behavior)) {
      ranges.push_back({offset + begin, offset + end});
    }
  }
  pieces.ranges = std::move(ranges);
}

/// Rewrites every piece by itself.
template <class Rewrite>
void rewrite(Pieces& pieces, Rewrite rewrite_piece) {
  spell_bytes(pieces);
  Pieces result;
  result.text.reserve(pieces.text.text().size() * 2);
  result.ranges.reserve(pieces.ranges.size());
  for (const auto& [begin, end] : pieces.ranges) {
    AlignedText piece = pieces.text.slice(begin, end);
    rewrite_piece(piece);
    const size_t offset = result.text.text().size();
    result.text.append(piece, 0, piece.text().size());
    result.ranges.push_back({offset, offset + piece.text().size()});
  }
  pieces = std::move(result);
}

PreTokenizer split_by(Pattern pattern, SplitBehavior behavior, bool inverted = false) {
  return [pattern = std::move(pattern), behavior, inverted](Pieces& pieces) {
    cut(pieces, pattern, inverted, behavior);
  };
}

PreTokenizer read_sequence(const JsonNode& node, int depth) {
  std::vector<PreTokenizer> steps;
  for (const JsonNode& step : node.at("pretokenizers").elements()) {
    steps.push_back(read_pre_tokenizer(step, depth + 1));
  }
  return [steps = std::move(steps)](Pieces& pieces) {
    for (const PreTokenizer& step : steps) {
      step(pieces);
    }
  };
}

PreTokenizer read_byte_level(const JsonNode& node) {
  const bool adds_space = node.at("add_prefix_space").boolean();
  Pattern words;
  if (node.boolean_or("use_regex", true)) {
    words = [regex = Regex(kByteLevelPattern, node.path())](std::string_view text) {
      return regex.find_all(text);
    };
  }
  return [adds_space, words = std::move(words)](Pieces& pieces) {
    if (adds_space) {
      rewrite(pieces, [](AlignedText& piece) {
        if (piece.text().front() != ' ') {
          prepend(piece, " ");
        }
      });
    }
    if (words) {
      cut(pieces, words, false, SplitBehavior::kIsolated);
    }
    spell_bytes(pieces);
    pieces.stands_for_bytes = true;
  };
}

/// The matches of \w+|[^\w\s]+, with the \w of Rust.
std::vector<Range> words_and_symbols(std::string_view text) {
  enum class Kind { kSpace, kWord, kSymbol };
  std::vector<Range> matches;
  Kind previous = Kind::kSpace;
  for (size_t pos = 0; pos < text.size();) {
    const size_t begin = pos;
    const char32_t code = next_code_point(text, pos);
    const Kind kind = is_word(code)          ? Kind::kWord
                      : is_white_space(code) ? Kind::kSpace
                                             : Kind::kSymbol;
    if (kind != Kind::kSpace && kind == previous) {
      matches.back().end = pos;
    } else if (kind != Kind::kSpace) {
      matches.push_back({begin, pos});
    }
    previous = kind;
  }
  return matches;
}

/// A character given as a string of one.
std::string read_character(const JsonNode& node) {
  const std::string character = node.string();
  if (character.empty() || char_length(character[0]) != character.size()) {
    node.fail("expected one character, got \"", character, "\"");
  }
  return character;
}

enum class PrependScheme { kFirst, kNever, kAlways };

PrependScheme read_prepend_scheme(const JsonNode& node) {
  const auto scheme = node.find("prepend_scheme");
  const std::string name = scheme ? scheme->string() : "always";
  const auto adds_space = node.find("add_prefix_space");
  if (adds_space && !adds_space->boolean()) {
    if (name != "never") {
      node.fail("add_prefix_space false needs prepend_scheme \"never\", got \"", name, "\"");
    }
    return PrependScheme::kNever;
  }
  if (name == "first") {
    return PrependScheme::kFirst;
  }
  if (name == "never") {
    return PrependScheme::kNever;
  }
  if (name != "always") {
    scheme->fail("unknown prepend_scheme \"", name, "\"; allowed are first, never, always");
  }
  return PrependScheme::kAlways;
}

PreTokenizer read_metaspace(const JsonNode& node) {
  const std::string mark = read_character(node.at("replacement"));
  const PrependScheme scheme = read_prepend_scheme(node);
  const bool splits = node.boolean_or("split", true);
  return [mark, scheme, splits, spaces = literal_pattern(" "),
          marks = literal_pattern(mark)](Pieces& pieces) {
    rewrite(pieces, [&](AlignedText& piece) {
      const bool is_first = piece.origin(0, 1).begin == 0;
      replace_matches(piece, spaces(piece.text()), mark);
      const bool prepends =
          scheme == PrependScheme::kAlways || (scheme == PrependScheme::kFirst && is_first);
      if (prepends && !piece.text().starts_with(mark)) {
        prepend(piece, mark);
      }
    });
    if (splits) {
      cut(pieces, marks, false, SplitBehavior::kMergedWithNext);
    }
  };
}

}  // namespace

void spell_bytes(Pieces& pieces) {
  if (std::exchange(pieces.stands_for_bytes, false)) {
    rewrite(pieces, [](AlignedText& piece) { piece = to_byte_alphabet(piece); });
  }
}

PreTokenizer read_pre_tokenizer(const JsonNode& node, int depth) {
  if (depth > kMaxDepth) {
    node.fail("pre-tokenizers are nested more than ", kMaxDepth, " deep");
  }
  const std::string type = node.type();
  if (type == "Sequence") {
    return read_sequence(node, depth);
  }
  if (type == "ByteLevel") {
    return read_byte_level(node);
  }
  if (type == "Split") {
    return split_by(read_pattern(node.at("pattern")), read_split_behavior(node.at("behavior")),
                    node.at("invert").boolean());
  }
  if (type == "Digits") {
    const bool individual = node.at("individual_digits").boolean();
    return split_by(character_pattern(is_numeric),
                    individual ? SplitBehavior::kIsolated : SplitBehavior::kContiguous);
  }
  if (type == "Metaspace") {
    return read_metaspace(node);
  }
  if (type == "Punctuation") {
    const auto behavior = node.find("behavior");
    return split_by(character_pattern(is_punctuation),
                    behavior ? read_split_behavior(*behavior) : SplitBehavior::kIsolated);
  }
  if (type == "Whitespace") {
    return split_by(words_and_symbols, SplitBehavior::kRemoved, true);
  }
  if (type == "WhitespaceSplit") {
    return split_by(character_pattern(is_white_space), SplitBehavior::kRemoved);
  }
  if (type == "CharDelimiterSplit") {
    return split_by(literal_pattern(read_character(node.at("delimiter"))), SplitBehavior::kRemoved);
  }
  node.fail("the pre-tokenizer \"", type,
            "\" is not supported; supported are Sequence, ByteLevel, Split, Digits, Metaspace, "
            "Punctuation, Whitespace, WhitespaceSplit, CharDelimiterSplit");
}

}  // namespace nibble::text
