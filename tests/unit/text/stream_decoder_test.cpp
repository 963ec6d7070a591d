#include <nibble/text/stream_decoder.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "tiny_tokenizer.h"

namespace nibble::text {
namespace {

using ::testing::ElementsAre;

constexpr const char* kReplacement = "\xEF\xBF\xBD";

/// SentencePiece's decoder: marks become blanks, bytes characters, the first blank goes.
Tokenizer sentence_piece() {
  nlohmann::json json = tiny_tokenizer({"\xE2\x96\x81", "\xE2\x96\x81kiwi", "s"});
  json["added_tokens"] = {added_token(259, "<eos>", {{"special", true}})};
  const nlohmann::json mark = {{"String", "\xE2\x96\x81"}};
  json["decoder"] = {{"type", "Sequence"},
                     {"decoders",
                      {{{"type", "Replace"}, {"pattern", mark}, {"content", " "}},
                       {{"type", "ByteFallback"}},
                       {{"type", "Fuse"}},
                       {{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}}}}};
  return make_tokenizer(json);
}

std::string utf8(int code_point) {
  if (code_point < 128) return std::string(1, static_cast<char>(code_point));
  return {static_cast<char>(0xC0 | (code_point >> 6)),
          static_cast<char>(0x80 | (code_point & 0x3F))};
}

/// One token a byte, named as GPT-2 names them.
Tokenizer byte_level() {
  nlohmann::json json = tiny_tokenizer();
  nlohmann::json& vocab = json["model"]["vocab"] = nlohmann::json::object();
  int stand_in = 256;
  for (int byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte != 173);
    vocab[utf8(printable ? byte : stand_in++)] = byte;
  }
  json["model"]["byte_fallback"] = false;
  json["decoder"] = {{"type", "ByteLevel"}};
  return make_tokenizer(json);
}

std::vector<std::string> pieces(const Tokenizer& tokenizer, const std::vector<int64_t>& ids) {
  StreamDecoder stream(tokenizer);
  std::vector<std::string> result;
  for (const int64_t id : ids) result.push_back(stream.push(id));
  result.push_back(stream.finish());
  return result;
}

std::string joined(const std::vector<std::string>& parts) {
  std::string text;
  for (const std::string& part : parts) text += part;
  return text;
}

TEST(StreamDecoder, GivesWholeCharacters) {
  EXPECT_THAT(pieces(byte_level(), {'a', 0xC3, 0xA9, 'b', 0xF0, 0x9F, 0xA5, 0x9D}),
              ElementsAre("a", "", "\xC3\xA9", "b", "", "", "", "\xF0\x9F\xA5\x9D", ""));
}

TEST(StreamDecoder, ShowsWhatNeverBecameACharacter) {
  EXPECT_THAT(pieces(byte_level(), {0xC3, 'a', 0xC3}),
              ElementsAre("", std::string(kReplacement) + "a", "", kReplacement));
}

TEST(StreamDecoder, KeepsTheBlanksOfSentencePiece) {
  constexpr int64_t kBlank = 256, kKiwi = 257, kS = 258, kEnd = 259;
  EXPECT_THAT(pieces(sentence_piece(), {kKiwi, kS, kBlank, kKiwi, kEnd, kKiwi, kEnd}),
              ElementsAre("kiwi", "s", " ", " kiwi", "", " kiwi", "", ""));
}

TEST(StreamDecoder, JoinsToTheWholeText) {
  std::mt19937 random(3);
  for (const Tokenizer& tokenizer : {byte_level(), sentence_piece()}) {
    const int64_t vocabulary = tokenizer.vocab_size();
    for (int trial = 0; trial < 300; ++trial) {
      const std::string_view alphabet[] = {"a", " ", "\xC3\xA9", "\xE2\x82\xAC", "kiwi", "\n"};
      std::vector<int64_t> ids;
      for (int i = 0; i < 20; ++i) {
        if (vocabulary > 256 && random() % 4 == 0) {
          ids.push_back(256 + static_cast<int64_t>(random() % 4));
          continue;
        }
        for (const char byte : alphabet[random() % std::size(alphabet)]) {
          ids.push_back(static_cast<unsigned char>(byte));
        }
      }
      EXPECT_EQ(joined(pieces(tokenizer, ids)), tokenizer.decode(ids, true));
    }
  }
}

TEST(StreamDecoder, TakesAnyBytesOfAByteLevelModel) {
  std::mt19937 random(4);
  const Tokenizer tokenizer = byte_level();
  for (int trial = 0; trial < 300; ++trial) {
    std::vector<int64_t> ids;
    for (int i = 0; i < 30; ++i) ids.push_back(static_cast<int64_t>(random() % 256));
    EXPECT_EQ(joined(pieces(tokenizer, ids)), tokenizer.decode(ids, true));
  }
}

}  // namespace
}  // namespace nibble::text
