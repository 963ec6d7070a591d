#include <nibble/core/error.h>
#include <nibble/text/assistant_mask.h>
#include <nibble/text/chat_template.h>
#include <nibble/text/tokenizer.h>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "compressed_file.h"

// Truth made with transformers' render_jinja_template: <folder>/cases.jsonl. The folder comes from
// NIBBLE_CHAT_DIR, the tokenizers that cases name from NIBBLE_TOKENIZER_DIR.

namespace nibble::text {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

fs::path truth_file() {
  const char* const folder = std::getenv("NIBBLE_CHAT_DIR");
  return fs::path(folder != nullptr ? folder : NIBBLE_SOURCE_DIR "/../shared/chat") / "cases.jsonl";
}

Tokenizer read_tokenizer(const std::string& name) {
  const char* const folder = std::getenv("NIBBLE_TOKENIZER_DIR");
  const fs::path plain =
      fs::path(folder != nullptr ? folder : NIBBLE_SOURCE_DIR "/../shared/tokenizers") / name /
      "tokenizer.json";
  const fs::path path = fs::exists(plain) ? plain : fs::path(plain.string() + ".gz");
  return Tokenizer::from_json(read_maybe_compressed(path), path.string());
}

std::vector<Json> read_cases() {
  std::vector<Json> cases;
  std::ifstream file(truth_file());
  for (std::string line; std::getline(file, line);) {
    if (!line.empty()) {
      cases.push_back(Json::parse(line));
    }
  }
  return cases;
}

RenderedChat render(const Json& test) {
  return ChatTemplate(test.at("template").get<std::string>())
      .render(test.at("messages"), test.at("tools"), test.at("add_generation_prompt").get<bool>(),
              test.at("vars"));
}

using Spans = std::vector<std::pair<size_t, size_t>>;

Spans pairs(const std::vector<ByteSpan>& spans) {
  Spans result;
  for (const ByteSpan& span : spans) {
    result.emplace_back(span.begin, span.end);
  }
  return result;
}

class chat_template_golden : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!fs::exists(truth_file())) {
      GTEST_SKIP() << "no truth at " << truth_file();
    }
    cases_ = read_cases();
    ASSERT_FALSE(cases_.empty());
  }

  std::vector<Json> cases_;
};

TEST_F(chat_template_golden, TextIsExact) {
  for (const Json& test : cases_) {
    if (!test.at("expected").is_null()) {
      SCOPED_TRACE(test.at("name"));
      EXPECT_EQ(render(test).text, test.at("expected").get<std::string>());
    }
  }
}

TEST_F(chat_template_golden, RefusesWhereTheTemplateRefuses) {
  for (const Json& test : cases_) {
    if (test.at("expected").is_null()) {
      SCOPED_TRACE(test.at("name"));
      EXPECT_THROW(render(test), Error);
    }
  }
}

TEST_F(chat_template_golden, AssistantMasksAreExact) {
  std::map<std::string, Tokenizer> tokenizers;
  for (const Json& test : cases_) {
    if (test.contains("assistant_mask")) {
      SCOPED_TRACE(test.at("name"));
      const auto name = test.at("tokenizer").get<std::string>();
      if (!tokenizers.contains(name)) {
        tokenizers.emplace(name, read_tokenizer(name));
      }
      const RenderedChat chat = render(test);
      const Encoding encoding = tokenizers.at(name).encode(chat.text, false);
      EXPECT_EQ(encoding.ids, test.at("input_ids").get<std::vector<int64_t>>());
      const std::vector<bool> mask = assistant_mask(chat, encoding);
      EXPECT_EQ(std::vector<int>(mask.begin(), mask.end()),
                test.at("assistant_mask").get<std::vector<int>>());
    }
  }
}

TEST_F(chat_template_golden, GenerationSpansAreExact) {
  for (const Json& test : cases_) {
    if (test.contains("assistant_spans_bytes")) {
      SCOPED_TRACE(test.at("name"));
      EXPECT_EQ(pairs(render(test).generation_spans),
                test.at("assistant_spans_bytes").get<Spans>());
    }
  }
}

}  // namespace
}  // namespace nibble::text
