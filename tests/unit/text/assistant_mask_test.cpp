#include <nibble/core/error.h>
#include <nibble/text/assistant_mask.h>

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace nibble::text {
namespace {

std::vector<bool> mask(const std::string& text, std::vector<ByteSpan> generation,
                       std::vector<ByteSpan> tokens) {
  Encoding encoding;
  encoding.ids.resize(tokens.size());
  encoding.spans = std::move(tokens);
  return assistant_mask({text, std::move(generation)}, encoding);
}

using Mask = std::vector<bool>;

TEST(AssistantMask, TakesTheTokensOfTheSpan) {
  EXPECT_EQ(mask("abcdef", {{2, 4}}, {{0, 2}, {2, 3}, {3, 4}, {4, 6}}), (Mask{0, 1, 1, 0}));
}

TEST(AssistantMask, TakesTokensThatStraddleTheEdges) {
  EXPECT_EQ(mask("abcdef", {{3, 5}}, {{0, 2}, {2, 4}, {4, 6}}), (Mask{0, 1, 1}));
}

TEST(AssistantMask, SkipsTokensWithoutText) {
  EXPECT_EQ(mask("abc", {{1, 3}}, {{0, 0}, {0, 1}, {1, 3}, {3, 3}}), (Mask{0, 0, 1, 0}));
}

TEST(AssistantMask, EndsWithTheFirstTokenOfTheLastCharacter) {
  // U+00E9 in two byte tokens: transformers' char_to_token gives the first of them.
  EXPECT_EQ(mask("xa\xC3\xA9", {{1, 4}}, {{0, 1}, {1, 2}, {2, 3}, {3, 4}}), (Mask{0, 1, 1, 0}));
}

TEST(AssistantMask, RunsToTheEndWhereTheLastTokenIsTokenZero) {
  EXPECT_EQ(mask("abc", {{0, 1}}, {{0, 1}, {1, 2}, {2, 3}}), (Mask{1, 1, 1}));
}

TEST(AssistantMask, LeavesSpansOutOnceOneStartsAtNoToken) {
  EXPECT_EQ(mask("ab cd", {{2, 4}, {3, 5}}, {{0, 2}, {3, 4}, {4, 5}}), (Mask{0, 0, 0}));
}

TEST(AssistantMask, AnEmptySpanMarksNothingAtATokenEdge) {
  EXPECT_EQ(mask("abcd", {{2, 2}}, {{0, 1}, {1, 2}, {2, 4}}), (Mask{0, 0, 0}));
}

TEST(AssistantMask, RefusesSpansOutsideOfTheText) {
  EXPECT_THROW(mask("ab", {{1, 3}}, {{0, 2}}), Error);
}

}  // namespace
}  // namespace nibble::text
