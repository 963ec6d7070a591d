#include <nibble/core/error.h>
#include <nibble/text/tokenizer.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "unit/text/tiny_tokenizer.h"

namespace nibble::text {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;

/// The message of the Error that reading `text` throws; empty when it throws none.
std::string error_of(const std::string& text) {
  try {
    Tokenizer::from_json(text, "tiny.json");
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

std::string error_with(const std::function<void(json&)>& change) {
  json file = tiny_tokenizer({"a", "b", "ab"}, {"a b"});
  change(file);
  return error_of(file.dump());
}

TEST(tokenizer_error, NamesTheFileAndThePlace) {
  EXPECT_THAT(error_of(""), HasSubstr("tiny.json"));
  EXPECT_THAT(error_of("{\"version\": \"1.0\", "), HasSubstr("tiny.json"));
  EXPECT_THAT(error_of("{\"a\": \"\xFF\"}"), HasSubstr("tiny.json"));
  EXPECT_THAT(error_of(R"({"model": {"vocab": {"a": 0, "a": 1}}})"), HasSubstr("tiny.json"));
  EXPECT_THAT(error_of("[]"), HasSubstr("expected an object, got array"));
  EXPECT_THAT(error_of("{}"), HasSubstr("\"model\" is missing"));
  EXPECT_THAT(error_with([](json& f) { f["version"] = "2.0"; }), HasSubstr("\"2.0\""));
}

TEST(tokenizer_error, RefusesModelsThatAreNotSupported) {
  EXPECT_THAT(error_with([](json& f) { f["model"]["type"] = "Unigram"; }),
              AllOf(HasSubstr("tiny.json.model"), HasSubstr("\"Unigram\" is not supported")));
  EXPECT_THAT(error_with([](json& f) { f["model"]["dropout"] = 0.1; }), HasSubstr("dropout"));
  EXPECT_THAT(error_with([](json& f) { f["model"]["unk_token"] = "<none>"; }),
              HasSubstr("\"<none>\" is not in the vocabulary"));
}

TEST(tokenizer_error, RefusesVocabulariesThatContradictThemselves) {
  EXPECT_THAT(error_with([](json& f) { f["model"]["vocab"]["b"] = 256; }),
              HasSubstr("the id 256 stands for"));
  EXPECT_THAT(error_with([](json& f) { f["model"]["vocab"]["b"] = -1; }),
              AllOf(HasSubstr("model.vocab.b"), HasSubstr("-1")));
  EXPECT_THAT(error_with([](json& f) { f["model"]["vocab"]["b"] = 4294967296; }),
              HasSubstr("4294967296"));
  EXPECT_THAT(error_with([](json& f) { f["model"]["vocab"]["b"] = "1"; }), HasSubstr("string"));
  EXPECT_THAT(error_with([](json& f) { f["model"]["vocab"] = json::array(); }),
              HasSubstr("model.vocab"));
}

TEST(tokenizer_error, RefusesMergesOfUnknownTokens) {
  EXPECT_THAT(error_with([](json& f) { f["model"]["merges"] = {"a z"}; }),
              AllOf(HasSubstr("merge 0"), HasSubstr("\"z\"")));
  EXPECT_THAT(error_with([](json& f) {
                f["model"]["merges"] = {"a b", "b a"};
              }),
              AllOf(HasSubstr("merge 1"), HasSubstr("\"ba\"")));
  EXPECT_THAT(error_with([](json& f) { f["model"]["merges"] = {"a"}; }), HasSubstr("expected"));
  EXPECT_THAT(error_with([](json& f) { f["model"]["merges"] = {"a b c"}; }), HasSubstr("expected"));
  EXPECT_THAT(error_with([](json& f) { f["model"]["merges"] = {7}; }), HasSubstr("expected"));
  EXPECT_THAT(error_with([](json& f) { f["model"]["merges"] = "a b"; }), HasSubstr("model.merges"));
}

TEST(tokenizer_error, NamesComponentsThatAreNotSupported) {
  EXPECT_THAT(error_with([](json& f) {
                f["normalizer"] = {{"type", "Precompiled"}};
              }),
              AllOf(HasSubstr("normalizer"), HasSubstr("\"Precompiled\"")));
  EXPECT_THAT(error_with([](json& f) {
                f["pre_tokenizer"] = {{"type", "UnicodeScripts"}};
              }),
              AllOf(HasSubstr("pre_tokenizer"), HasSubstr("\"UnicodeScripts\"")));
  EXPECT_THAT(error_with([](json& f) {
                f["post_processor"] = {{"type", "BertProcessing"}};
              }),
              AllOf(HasSubstr("post_processor"), HasSubstr("\"BertProcessing\"")));
  EXPECT_THAT(error_with([](json& f) {
                f["decoder"] = {{"type", "CTC"}};
              }),
              AllOf(HasSubstr("decoder"), HasSubstr("\"CTC\"")));
  EXPECT_THAT(error_with([](json& f) { f["decoder"] = json::object(); }), HasSubstr("\"type\""));
}

TEST(tokenizer_error, RefusesEndlessNesting) {
  const auto nest = [](const char* list) {
    json node = {{"type", "NFC"}};
    for (int i = 0; i < 40; ++i) {
      node = {{"type", "Sequence"}, {list, json::array({node})}};
    }
    return node;
  };
  EXPECT_THAT(error_with([&](json& f) { f["normalizer"] = nest("normalizers"); }),
              HasSubstr("nested"));
  EXPECT_THAT(error_with([&](json& f) { f["pre_tokenizer"] = nest("pretokenizers"); }),
              HasSubstr("nested"));
  EXPECT_THAT(error_with([&](json& f) { f["post_processor"] = nest("processors"); }),
              HasSubstr("nested"));
  EXPECT_THAT(error_with([&](json& f) { f["decoder"] = nest("decoders"); }), HasSubstr("nested"));
}

TEST(tokenizer_error, RefusesPatternsWithTheirPlace) {
  const auto error_of_regex = [](const std::string& regex) {
    return error_with([&](json& f) {
      f["pre_tokenizer"] = {{"type", "Split"},
                            {"pattern", {{"Regex", regex}}},
                            {"behavior", "Isolated"},
                            {"invert", false}};
    });
  };
  for (const char* regex : {"(a", "a)", "[a", "[b-a]", "\\p{Nonsense}", "\\p{L", "\\k<a>", "\\1",
                            "(?x)a", "(?<n>a)", "a{2}+", "\\xFF", "\\x{110000}", "*a", "\\"}) {
    EXPECT_THAT(error_of_regex(regex), HasSubstr("pre_tokenizer.pattern.Regex")) << regex;
  }
  EXPECT_THAT(error_of_regex(std::string(100, '(') + std::string(100, ')')), HasSubstr("nested"));
  EXPECT_THAT(error_of_regex(std::string(100, '[')), HasSubstr("nested"));
  EXPECT_EQ(error_of_regex("[\\p{L}']+"), "");
}

TEST(tokenizer_error, RefusesContradictingAddedTokens) {
  EXPECT_THAT(error_with([](json& f) { f["added_tokens"] = {added_token(300, "<x>")}; }),
              AllOf(HasSubstr("added_tokens[0]"), HasSubstr("300"), HasSubstr("259")));
  EXPECT_THAT(error_with([](json& f) {
                f["added_tokens"] = {{{"id", 259}}};
              }),
              HasSubstr("added_tokens[0]"));
  const json normalized = {{"normalized", true}};
  EXPECT_THAT(error_with([&](json& f) {
                f["normalizer"] = {{"type", "Lowercase"}};
                f["added_tokens"] = {added_token(259, "<X>", normalized),
                                     added_token(260, "<x>", normalized)};
              }),
              HasSubstr("equal to another"));
}

TEST(tokenizer_error, NamesAFileThatIsNotThere) {
  EXPECT_THROW(Tokenizer::from_file("no/such/tokenizer.json"), Error);
}

}  // namespace
}  // namespace nibble::text
