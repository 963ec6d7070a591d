#include <nibble/text/tokenizer.h>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <sstream>
#include <string>
#include <vector>

#include "compressed_file.h"
#include "unit/text/tiny_tokenizer.h"

// What Hugging Face `tokenizers` makes of each component, from tests/data/tokenizers/generate.py.

namespace nibble::text {

bool operator==(const ByteSpan& a, const ByteSpan& b) {
  return a.begin == b.begin && a.end == b.end;
}

void PrintTo(const ByteSpan& span, std::ostream* out) {
  *out << "[" << span.begin << ", " << span.end << ")";
}

namespace {

using nlohmann::json;
using Ids = std::vector<int64_t>;

std::vector<json> tokenizers() {
  const char* const path = NIBBLE_SOURCE_DIR "/tests/data/tokenizers/components.jsonl.gz";
  std::istringstream lines(read_maybe_compressed(path));
  std::vector<json> result;
  for (std::string line; std::getline(lines, line);) {
    result.push_back(json::parse(line));
  }
  return result;
}

Tokenizer tokenizer_of(const json& line) {
  json file = tiny_tokenizer(line.at("tokens"), line.at("merges"));
  file["model"].update(line.at("model"));
  file.update(line.at("file"));
  return make_tokenizer(file);
}

std::vector<ByteSpan> spans_of(const json& pairs) {
  std::vector<ByteSpan> spans;
  for (const json& pair : pairs) {
    spans.push_back({pair[0], pair[1]});
  }
  return spans;
}

void check_encoding(const Tokenizer& tokenizer, const json& truth) {
  const std::string text = truth.at("text");
  SCOPED_TRACE(truth.at("text").dump(-1, ' ', true));
  const Encoding encoding = tokenizer.encode(text, /*add_special_tokens=*/false);
  const Ids ids = truth.at("ids");
  EXPECT_EQ(encoding.ids, ids);
  EXPECT_EQ(tokenizer.encode_ids(text, true), Ids(truth.value("ids_special", truth.at("ids"))));
  if (truth.contains("spans")) {
    EXPECT_EQ(encoding.spans, spans_of(truth.at("spans")));
  }
}

TEST(tokenizer_components, EncodeAndDecodeAsTheReference) {
  const std::vector<json> lines = tokenizers();
  EXPECT_GT(lines.size(), 200u);
  for (const json& line : lines) {
    SCOPED_TRACE(line.at("name").get<std::string>());
    const Tokenizer tokenizer = tokenizer_of(line);
    for (const json& truth : line.at("encode")) {
      check_encoding(tokenizer, truth);
    }
    for (const json& truth : line.at("decode")) {
      const Ids ids = truth.at("ids");
      SCOPED_TRACE(truth.at("ids").dump());
      EXPECT_EQ(tokenizer.decode(ids, false), truth.at("text").get<std::string>());
      EXPECT_EQ(tokenizer.decode(ids, true), truth.at("text_skipping").get<std::string>());
    }
  }
}

}  // namespace
}  // namespace nibble::text
