#include <nibble/core/error.h>
#include <nibble/text/tokenizer.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "unit/text/tiny_tokenizer.h"

// Small tokenizers made by hand, one rule of the reference library a test.

namespace nibble::text {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using Ids = std::vector<int64_t>;

const json kByteLevel = {{"type", "ByteLevel"},
                         {"add_prefix_space", false},
                         {"trim_offsets", false},
                         {"use_regex", true}};

/// Splits with `pre_tokenizer`, marks the pieces' begins, and gives the pieces joined by "|".
std::string pieces_of(const json& pre_tokenizer, std::string_view text) {
  json file = tiny_tokenizer({"|"});
  file["pre_tokenizer"] = {{"type", "Sequence"},
                           {"pretokenizers",
                            {pre_tokenizer,
                             {{"type", "Metaspace"},
                              {"replacement", "|"},
                              {"prepend_scheme", "always"},
                              {"split", false}}}}};
  std::string pieces;
  for (const int64_t id : make_tokenizer(file).encode_ids(text, false)) {
    pieces += id == 256 ? '|' : static_cast<char>(id);
  }
  return pieces;
}

json split(const json& pattern, const std::string& behavior = "Isolated", bool invert = false) {
  return {{"type", "Split"}, {"pattern", pattern}, {"behavior", behavior}, {"invert", invert}};
}

std::string regex_pieces(const std::string& regex, std::string_view text) {
  return pieces_of(split({{"Regex", regex}}), text);
}

std::string normalized(const json& normalizer, std::string_view text) {
  json file = tiny_tokenizer();
  file["normalizer"] = normalizer;
  return bytes_of(make_tokenizer(file), text);
}

// ---- the model ----

TEST(tokenizer_bpe, MergesLowestRankFirstThenLeftmost) {
  const json merges = {"b c", "a b", "a a"};
  const Tokenizer tokenizer =
      make_tokenizer(tiny_tokenizer({"a", "b", "c", "ab", "bc", "aa"}, merges));
  EXPECT_THAT(tokenizer.encode_ids("abc", false), ElementsAre(256, 260));
  EXPECT_THAT(tokenizer.encode_ids("abab", false), ElementsAre(259, 259));
  EXPECT_THAT(tokenizer.encode_ids("aaa", false), ElementsAre(261, 256));
}

TEST(tokenizer_bpe, ReadsMergesAsPairsToo) {
  const json merges = json::array({json::array({"a", "b"}), json::array({"ab", "c"})});
  const Tokenizer tokenizer = make_tokenizer(tiny_tokenizer({"a", "b", "c", "ab", "abc"}, merges));
  EXPECT_THAT(tokenizer.encode_ids("abcab", false), ElementsAre(260, 259));
}

TEST(tokenizer_bpe, IgnoresMergesForWholePieces) {
  json file = tiny_tokenizer({"a", "b", "c", "ab", "abc"}, {"a b"});
  EXPECT_THAT(make_tokenizer(file).encode_ids("abc", false), ElementsAre(259, 258));
  file["model"]["ignore_merges"] = true;
  EXPECT_THAT(make_tokenizer(file).encode_ids("abc", false), ElementsAre(260));
}

TEST(tokenizer_bpe, DropsUnknownCharactersWithoutUnknownToken) {
  json file = tiny_tokenizer({"a", "b", "ab"}, {"a b"});
  file["model"]["byte_fallback"] = false;
  const Encoding encoding = make_tokenizer(file).encode("axb?", false);
  EXPECT_THAT(encoding.ids, ElementsAre(258));  // the neighbours of a dropped character merge
  EXPECT_EQ(encoding.spans[0].begin, 0u);
  EXPECT_EQ(encoding.spans[0].end, 3u);
}

TEST(tokenizer_bpe, FusesUnknownCharactersWhereAsked) {
  json file = tiny_tokenizer({"a", "<unk>"});
  file["model"]["byte_fallback"] = false;
  file["model"]["unk_token"] = "<unk>";
  EXPECT_THAT(make_tokenizer(file).encode_ids("xyaz", false), ElementsAre(257, 257, 256, 257));
  file["model"]["fuse_unk"] = true;
  EXPECT_THAT(make_tokenizer(file).encode_ids("xyaz", false), ElementsAre(257, 256, 257));
}

TEST(tokenizer_bpe, HonoursPrefixAndSuffix) {
  json file = tiny_tokenizer({"a", "##b", "##c</w>", "ab"}, {"a ##b"});
  file["model"]["continuing_subword_prefix"] = "##";
  file["model"]["end_of_word_suffix"] = "</w>";
  EXPECT_THAT(make_tokenizer(file).encode_ids("abc", false), ElementsAre(259, 258));
}

TEST(tokenizer_bpe, TakesHugeIds) {
  json file = tiny_tokenizer({"a"});
  file["model"]["vocab"]["a"] = 4294967295u;
  const Tokenizer tokenizer = make_tokenizer(file);
  EXPECT_THAT(tokenizer.encode_ids("a", false), ElementsAre(4294967295));
  EXPECT_EQ(tokenizer.id_to_token(4294967295), "a");
  EXPECT_EQ(tokenizer.id_to_token(-1), std::nullopt);
  EXPECT_EQ(tokenizer.id_to_token(int64_t{1} << 40), std::nullopt);
}

TEST(tokenizer_bpe, TakesAMegabyteOfOneWord) {
  const json merges = {"a a", "aa aa", "b a"};
  const Tokenizer tokenizer =
      make_tokenizer(tiny_tokenizer({"a", "aa", "aaaa", "b", "ba"}, merges));
  const std::string word(1 << 20, 'a');
  EXPECT_EQ(tokenizer.encode_ids(word, false), Ids(word.size() / 4, 258));
}

// ---- added tokens ----

Tokenizer with_added(const json& flags, const json& normalizer = nullptr) {
  json file = tiny_tokenizer();
  file["added_tokens"] = {added_token(256, "<x>", flags), added_token(257, "<x>y", flags)};
  file["normalizer"] = normalizer;
  return make_tokenizer(file);
}

TEST(tokenizer_added, LongestOfTheLeftmostWins) {
  EXPECT_THAT(with_added(json::object()).encode_ids("a<x>y<x><x", false),
              ElementsAre('a', 257, 256, '<', 'x'));
}

TEST(tokenizer_added, StripTakesTheWhiteSpaceBeside) {
  EXPECT_THAT(with_added({{"lstrip", true}}).encode_ids("a \t<x> b", false),
              ElementsAre('a', 256, ' ', 'b'));
  EXPECT_THAT(with_added({{"rstrip", true}})
                  .encode_ids("a <x> \u3000"
                              "b",
                              false),
              ElementsAre('a', ' ', 256, 'b'));
  const json both = {{"lstrip", true}, {"rstrip", true}};
  const Encoding encoding = with_added(both).encode("<x>  <x> b", false);
  EXPECT_THAT(encoding.ids, ElementsAre(256, 256, 'b'));
  EXPECT_EQ(encoding.spans[0].end, 5u);
  EXPECT_EQ(encoding.spans[1].begin, 5u);
}

TEST(tokenizer_added, SingleWordStandsAlone) {
  const Tokenizer tokenizer = with_added({{"single_word", true}});
  EXPECT_THAT(tokenizer.encode_ids("<x> .<x>", false), ElementsAre(256, ' ', '.', 256));
  EXPECT_THAT(tokenizer.encode_ids("a<x>", false), ElementsAre('a', '<', 'x', '>'));
  EXPECT_THAT(tokenizer.encode_ids("<x>1", false), ElementsAre('<', 'x', '>', '1'));
}

TEST(tokenizer_added, NormalizedTokensMatchNormalizedText) {
  const json lowercase = {{"type", "Lowercase"}};
  EXPECT_THAT(with_added({{"normalized", true}}, lowercase).encode_ids("<X>A", false),
              ElementsAre(256, 'a'));
  EXPECT_THAT(with_added({{"normalized", false}}, lowercase).encode_ids("<X>A", false),
              ElementsAre('<', 'x', '>', 'a'));
}

TEST(tokenizer_added, SpecialTokensAreSkippedOnRequest) {
  json file = tiny_tokenizer();
  file["added_tokens"] = {added_token(256, "<s>", {{"special", true}}), added_token(257, "<t>")};
  file["decoder"] = {{"type", "Sequence"},
                     {"decoders", {{{"type", "ByteFallback"}}, {{"type", "Fuse"}}}}};
  const Tokenizer tokenizer = make_tokenizer(file);
  const Ids ids = {256, 'a', 257, 999999, -5};
  EXPECT_EQ(tokenizer.decode(ids, false), "<s>a<t>");
  EXPECT_EQ(tokenizer.decode(ids, true), "a<t>");
  EXPECT_EQ(tokenizer.vocab_size(), 258);
  EXPECT_EQ(tokenizer.token_to_id("<t>"), 257);
  EXPECT_EQ(tokenizer.id_to_token(257), "<t>");
  EXPECT_EQ(tokenizer.token_to_id("nothing"), std::nullopt);
}

// ---- normalizers ----

TEST(tokenizer_normalizer, ComposesAndDecomposes) {
  EXPECT_EQ(normalized({{"type", "NFC"}}, "e\u0301 \u1100\u1161\u11A8 \u212B"),
            "\u00E9 \uAC01 \u00C5");
  EXPECT_EQ(normalized({{"type", "NFD"}}, "\u00E9\uAC01"), "e\u0301\u1100\u1161\u11A8");
  EXPECT_EQ(normalized({{"type", "NFKC"}}, "\uFB01\u00B2"), "fi2");
  EXPECT_EQ(normalized({{"type", "NFKD"}}, "\u1E9B\u0323"), "s\u0323\u0307");
  EXPECT_EQ(normalized({{"type", "NFC"}}, "a\u0301\u0323"), "\u1EA1\u0301");
}

TEST(tokenizer_normalizer, LeavesCharactersAloneThatUnicode9DoesNotKnow) {
  EXPECT_EQ(normalized({{"type", "NFKC"}}, "\u32FF"), "\u32FF");  // square era name, Unicode 12.1
  EXPECT_EQ(normalized({{"type", "NFC"}}, "a\u0301\u09FE\u0323"), "\u00E1\u09FE\u0323");
}

TEST(tokenizer_normalizer, OrdersALongRunOfMarksInTime) {
  std::string text = "a";
  for (int i = 0; i < 200'000; ++i) {
    text += "\u0301\u0323";
  }
  const std::string ordered = normalized({{"type", "NFC"}}, text);
  EXPECT_TRUE(ordered.starts_with("\u1EA1\u0323\u0323"));
  EXPECT_TRUE(ordered.ends_with("\u0301\u0301"));
  EXPECT_EQ(ordered.size(), text.size());  // U+1EA1 takes as many bytes as its two parts
}

TEST(tokenizer_normalizer, RewritesText) {
  EXPECT_EQ(normalized({{"type", "Lowercase"}}, "\u0130\u00C9Z"), "i\u0307\u00E9z");
  EXPECT_EQ(normalized({{"type", "Prepend"}, {"prepend", "_"}}, "a"), "_a");
  EXPECT_EQ(normalized({{"type", "Prepend"}, {"prepend", "_"}}, ""), "");
  EXPECT_EQ(
      normalized({{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", "__"}}, " a "),
      "__a__");
  EXPECT_EQ(
      normalized({{"type", "Replace"}, {"pattern", {{"Regex", "a+"}}}, {"content", ""}}, "aabaa"),
      "b");
  EXPECT_EQ(normalized({{"type", "Strip"}, {"strip_left", true}, {"strip_right", false}}, " a "),
            "a ");
  EXPECT_EQ(normalized({{"type", "StripAccents"}}, "e\u0301"), "e");
  EXPECT_EQ(normalized({{"type", "Nmt"}},
                       "a\tb\x01"
                       "c"),
            "a bc");
}

TEST(tokenizer_normalizer, KeepsTheOriginOfEachByte) {
  json file = tiny_tokenizer({"x", "\u00E9"});
  file["normalizer"] = {
      {"type", "Sequence"},
      {"normalizers", {{{"type", "Prepend"}, {"prepend", "x"}}, {{"type", "NFC"}}}}};
  const Encoding encoding = make_tokenizer(file).encode("e\u0301!", false);
  ASSERT_THAT(encoding.ids, ElementsAre(256, 257, '!'));
  EXPECT_EQ(encoding.spans[0].end, 1u);  // what is put in front shares the first character
  EXPECT_EQ(encoding.spans[1].begin, 0u);
  EXPECT_EQ(encoding.spans[1].end, 3u);
  EXPECT_EQ(encoding.spans[2].begin, 3u);
}

TEST(tokenizer_normalizer, ReplacesIllFormedInput) {
  const Tokenizer tokenizer = make_tokenizer(tiny_tokenizer());
  EXPECT_EQ(bytes_of(tokenizer, "a\xE2\x82z\xFF"), "a\uFFFDz\uFFFD");
  const Encoding encoding = tokenizer.encode("\xE2\x82z", false);
  EXPECT_EQ(encoding.spans[0].end, 2u);
  EXPECT_EQ(encoding.spans[3].begin, 2u);
}

// ---- pre-tokenizers ----

TEST(tokenizer_split, BehavesInFiveWays) {
  const json a = {{"String", "a"}};
  EXPECT_EQ(pieces_of(split(a, "Removed"), "xaay"), "|x|y");
  EXPECT_EQ(pieces_of(split(a, "Isolated"), "xaay"), "|x|a|a|y");
  EXPECT_EQ(pieces_of(split(a, "MergedWithPrevious"), "xaay"), "|xa|a|y");
  EXPECT_EQ(pieces_of(split(a, "MergedWithNext"), "xaay"), "|x|a|ay");
  EXPECT_EQ(pieces_of(split(a, "Contiguous"), "xaay"), "|x|aa|y");
  EXPECT_EQ(pieces_of(split(a, "Removed", true), "xaay"), "|a|a");
}

TEST(tokenizer_split, CutsDigitsPunctuationAndSpace) {
  const json digits = {{"type", "Digits"}, {"individual_digits", true}};
  EXPECT_EQ(pieces_of(digits, "a12"), "|a|1|2");
  EXPECT_EQ(pieces_of({{"type", "Digits"}, {"individual_digits", false}}, "a12\u00B2b"),
            "|a|12\u00B2|b");
  EXPECT_EQ(pieces_of({{"type", "Punctuation"}},
                      "a$\u3002"
                      "b"),
            "|a|$|\u3002|b");
  EXPECT_EQ(pieces_of({{"type", "WhitespaceSplit"}}, "a,\u00A0b"), "|a,|b");
  EXPECT_EQ(pieces_of({{"type", "Whitespace"}}, "ab, c"), "|ab|,|c");
}

TEST(tokenizer_regex, KnowsTheCharacterClasses) {
  // U+31350 is a letter since Unicode 15, U+0BF0 a number, U+0085 white space.
  EXPECT_EQ(regex_pieces(R"(\p{L}+|\p{N}|\s)", "a\U00031350\u0BF0\u0085!"),
            "|a\U00031350|\u0BF0|\u0085|!");
  EXPECT_EQ(regex_pieces(R"([^\s\p{L}]+)", "a.\U00031350"), "|a|.|\U00031350");
  EXPECT_EQ(regex_pieces(R"([a-c&&[^b]]+|[\x{64}\u0065])", "acbde"), "|ac|b|d|e");
  EXPECT_EQ(regex_pieces(R"(\w)", "\u00B2-"), "|\u00B2|-");
  EXPECT_EQ(regex_pieces(R"([\w]+)", "a\u00B2"), "|a|\u00B2");
}

TEST(tokenizer_regex, IgnoresCaseAsUnicodeFoldsIt) {
  const std::string contractions = "(?i:'s|'k)|.";
  EXPECT_EQ(regex_pieces(contractions, "'S'\u017F'\u212A"), "|'S|'\u017F|'\u212A");
  EXPECT_EQ(regex_pieces("(?i:a)b|.", "AbAB"), "|Ab|A|B");
}

TEST(tokenizer_regex, LooksAroundAndRepeats) {
  EXPECT_EQ(regex_pieces(R"(\s+(?!\S)|\s+)", "a   b"),
            "|a|||"
            "|b");
  EXPECT_EQ(regex_pieces(R"(a{,2})", "aaab"), "|aa|a|b");
  EXPECT_EQ(regex_pieces(R"(^a$|\n)", "a\na"), "|a|\n|a");
  EXPECT_EQ(regex_pieces(R"(x*)", "axb"), "|a|x|b");
}

TEST(tokenizer_regex, EndsOnPatternsThatBacktrackWithoutEnd) {
  EXPECT_THROW(regex_pieces("(?:(?:a|a)+)+$", std::string(200, 'a') + "b"), Error);
}

TEST(tokenizer_metaspace, PrependsByScheme) {
  json file = tiny_tokenizer({"\u2581"});
  file["added_tokens"] = {added_token(257, "<x>")};
  json metaspace = {{"type", "Metaspace"}, {"replacement", "\u2581"}, {"split", true}};
  const auto ids = [&](const char* scheme) {
    metaspace["prepend_scheme"] = scheme;
    file["pre_tokenizer"] = metaspace;
    return make_tokenizer(file).encode_ids("a<x>b c", false);
  };
  EXPECT_THAT(ids("always"), ElementsAre(256, 'a', 257, 256, 'b', 256, 'c'));
  EXPECT_THAT(ids("first"), ElementsAre(256, 'a', 257, 'b', 256, 'c'));
  EXPECT_THAT(ids("never"), ElementsAre('a', 257, 'b', 256, 'c'));
}

// ---- byte level ----

/// One token for each byte the text needs, in the byte alphabet.
json byte_level_file() {
  json file = tiny_tokenizer({"a", "b", "\u0120", "\u00C3", "\u00A9", "\u0120a"}, {"\u0120 a"});
  file["model"]["byte_fallback"] = false;
  file["pre_tokenizer"] = kByteLevel;
  file["decoder"] = kByteLevel;
  return file;
}

TEST(tokenizer_byte_level, EncodesBytesAndSharesTheirCharacter) {
  const Encoding encoding = make_tokenizer(byte_level_file()).encode("b a\u00E9", false);
  EXPECT_THAT(encoding.ids, ElementsAre(257, 261, 259, 260));
  EXPECT_EQ(encoding.spans[1].begin, 1u);
  EXPECT_EQ(encoding.spans[2].begin, 3u);
  EXPECT_EQ(encoding.spans[2].end, 5u);
  EXPECT_EQ(encoding.spans[3].begin, 3u);
}

TEST(tokenizer_byte_level, TrimsSpansWhereAsked) {
  json file = byte_level_file();
  file["post_processor"] = kByteLevel;
  file["post_processor"]["trim_offsets"] = true;
  const Encoding encoding = make_tokenizer(file).encode("b a", false);
  EXPECT_EQ(encoding.spans[1].begin, 2u);
  EXPECT_EQ(encoding.spans[1].end, 3u);
}

TEST(tokenizer_byte_level, DecodesBrokenUtf8AsRustDoes) {
  const Tokenizer tokenizer = make_tokenizer(byte_level_file());
  EXPECT_EQ(tokenizer.decode(Ids{259, 260}, false), "\u00E9");
  EXPECT_EQ(tokenizer.decode(Ids{259}, false), "\uFFFD");
  EXPECT_EQ(tokenizer.decode(Ids{260, 256, 259, 259, 260}, false),
            "\uFFFD"
            "a\uFFFD\u00E9");
}

TEST(tokenizer_byte_level, DecodesAllMaximalParts) {
  json file = tiny_tokenizer();
  file["decoder"] = kByteLevel;
  json vocab = json::object();
  // F0 9F 98 in the byte alphabet: an emoji without its last byte is one U+FFFD.
  vocab["\u00F0"] = 0;
  vocab["\u0141"] = 1;
  vocab["\u013A"] = 2;
  file["model"]["vocab"] = vocab;
  const Tokenizer tokenizer = make_tokenizer(file);
  EXPECT_EQ(tokenizer.decode(Ids{0, 1, 2}, false), "\uFFFD");
  EXPECT_EQ(tokenizer.decode(Ids{1, 2}, false), "\uFFFD\uFFFD");
}

// ---- post-processors and decoders ----

TEST(tokenizer_template, AddsSpecialTokensAroundTheText) {
  json file = tiny_tokenizer({"<s>", "</s>"});
  file["post_processor"] = {
      {"type", "TemplateProcessing"},
      {"single",
       {{{"SpecialToken", {{"id", "<s>"}, {"type_id", 0}}}},
        {{"Sequence", {{"id", "A"}, {"type_id", 0}}}},
        {{"SpecialToken", {{"id", "</s>"}, {"type_id", 0}}}}}},
      {"pair", json::array()},
      {"special_tokens",
       {{"<s>", {{"id", "<s>"}, {"ids", {256}}, {"tokens", {"<s>"}}}},
        {"</s>", {{"id", "</s>"}, {"ids", {257, 257}}, {"tokens", {"</s>", "</s>"}}}}}}};
  const Tokenizer tokenizer = make_tokenizer(file);
  const Encoding encoding = tokenizer.encode("a", true);
  EXPECT_THAT(encoding.ids, ElementsAre(256, 'a', 257, 257));
  EXPECT_EQ(encoding.spans.size(), 4u);
  EXPECT_EQ(encoding.spans[3].end, encoding.spans[3].begin);
  EXPECT_THAT(tokenizer.encode_ids("a", false), ElementsAre('a'));
  EXPECT_THAT(tokenizer.encode_ids("", true), ElementsAre(256, 257, 257));
}

TEST(tokenizer_decoder, DecodesSentencePieceStyle) {
  json file = tiny_tokenizer({"\u2581",
                              "\u2581"
                              "b"});
  file["decoder"] = {{"type", "Sequence"},
                     {"decoders",
                      {{{"type", "Replace"}, {"pattern", {{"String", "\u2581"}}}, {"content", " "}},
                       {{"type", "ByteFallback"}},
                       {{"type", "Fuse"}},
                       {{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}}}}};
  const Tokenizer tokenizer = make_tokenizer(file);
  EXPECT_EQ(tokenizer.decode(Ids{256, 257, 0xC3, 0xA9}, false), " b\u00E9");
  EXPECT_EQ(tokenizer.decode(Ids{0xC3, 256, 0xA9, 0xC3}, false), "\uFFFD \uFFFD\uFFFD");
}

TEST(tokenizer_decoder, JoinsBySpacesWithoutDecoder) {
  const Tokenizer tokenizer = make_tokenizer(tiny_tokenizer({"a", "b"}));
  EXPECT_EQ(tokenizer.decode(Ids{256, 257}, false), "a b");
}

TEST(tokenizer_batch, GivesWhatEachTextGives) {
  const json merges = {"a b", "ab ab"};
  const Tokenizer tokenizer = make_tokenizer(tiny_tokenizer({"a", "b", "ab", "abab"}, merges));
  std::vector<std::string> texts;
  for (size_t i = 0; i < 500; ++i) {
    texts.push_back(std::string(i % 40, 'a') + "bab");
  }
  for (const int threads : {0, 1, 7}) {
    const std::vector<Encoding> encodings = tokenizer.encode_batch(texts, true, threads);
    ASSERT_EQ(encodings.size(), texts.size());
    for (size_t i = 0; i < texts.size(); ++i) {
      EXPECT_EQ(encodings[i].ids, tokenizer.encode_ids(texts[i], true));
      EXPECT_EQ(encodings[i].spans.back().end, texts[i].size());
    }
  }
}

TEST(tokenizer_batch, NamesTheFirstTextThatFails) {
  json file = tiny_tokenizer();
  file["pre_tokenizer"] = split({{"Regex", "(?:(?:a|a)+)+$"}});
  const Tokenizer tokenizer = make_tokenizer(file);
  const std::string endless = std::string(200, 'a') + "b";
  try {
    tokenizer.encode_batch(std::vector<std::string>{"a", "b", endless, "c", endless}, false, 2);
    FAIL() << "the pattern has no end on two texts";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), testing::StartsWith("text 2: "));
  }
}

TEST(tokenizer_threads, GiveTheSameIds) {
  const json merges = {"a b", "ab ab"};
  const Tokenizer tokenizer = make_tokenizer(tiny_tokenizer({"a", "b", "ab", "abab"}, merges));
  std::vector<std::thread> threads;
  std::array<bool, 4> equal{};
  for (size_t t = 0; t < equal.size(); ++t) {
    threads.emplace_back([&, t] {
      equal[t] = true;
      for (int i = 0; i < 2000; ++i) {
        const std::string text(2 * static_cast<size_t>(i % 40), 'a');
        equal[t] = equal[t] && tokenizer.encode_ids(text + "ab", false).back() == 258;
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_THAT(equal, testing::Each(true));
}

}  // namespace
}  // namespace nibble::text
