#include <nibble/text/stream_decoder.h>
#include <nibble/text/tokenizer.h>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "compressed_file.h"

// Truth made with Hugging Face `tokenizers`: <folder>/<name>/tokenizer.json[.gz] and the cases
// <folder>/<name>.jsonl. The folder comes from NIBBLE_TOKENIZER_DIR.

namespace nibble::text {
namespace {

namespace fs = std::filesystem;

fs::path truth_folder() {
  const char* const folder = std::getenv("NIBBLE_TOKENIZER_DIR");
  return folder != nullptr ? folder : NIBBLE_SOURCE_DIR "/../shared/tokenizers";
}

/// The tokenizers of the truth folder; one placeholder name where there is none.
std::vector<std::string> tokenizer_names() {
  std::vector<std::string> names;
  if (fs::is_directory(truth_folder())) {
    for (const fs::directory_entry& entry : fs::directory_iterator(truth_folder())) {
      if (entry.path().extension() == ".jsonl") {
        names.push_back(entry.path().stem().string());
      }
    }
  }
  std::sort(names.begin(), names.end());
  return names.empty() ? std::vector<std::string>{"absent"} : names;
}

class tokenizer_golden : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (!fs::exists(truth_folder() / (GetParam() + ".jsonl"))) {
      GTEST_SKIP() << "no tokenizer truth in " << truth_folder();
    }
    const fs::path folder = truth_folder() / GetParam();
    const fs::path plain = folder / "tokenizer.json";
    const fs::path path = fs::exists(plain) ? plain : folder / "tokenizer.json.gz";
    tokenizer_.emplace(Tokenizer::from_json(read_maybe_compressed(path), path.string()));
  }

  std::string decode_streamed(const std::vector<int64_t>& ids) const {
    StreamDecoder stream(*tokenizer_);
    std::string text;
    for (const int64_t id : ids) text += stream.push(id);
    return text + stream.finish();
  }

  std::optional<Tokenizer> tokenizer_;
};

TEST_P(tokenizer_golden, EncodesAndDecodesAsTheReference) {
  std::ifstream cases(truth_folder() / (GetParam() + ".jsonl"));
  size_t count = 0;
  for (std::string line; std::getline(cases, line); ++count) {
    const nlohmann::json truth = nlohmann::json::parse(line);
    const std::string text = truth["text"];
    const auto ids = truth["ids"].get<std::vector<int64_t>>();
    const auto ids_no_special = truth["ids_no_special"].get<std::vector<int64_t>>();
    SCOPED_TRACE("line " + std::to_string(count + 1) + ", kind " + truth["kind"].dump() + ": " +
                 truth["text"].dump(-1, ' ', true).substr(0, 200));
    EXPECT_EQ(tokenizer_->encode_ids(text, true), ids);
    EXPECT_EQ(tokenizer_->encode_ids(text, false), ids_no_special);
    EXPECT_EQ(tokenizer_->decode(ids_no_special, false), truth["decoded"].get<std::string>());
    EXPECT_EQ(tokenizer_->decode(ids, true), truth["decoded_skip_special"].get<std::string>());
    EXPECT_EQ(decode_streamed(ids), truth["decoded_skip_special"].get<std::string>());

    const Encoding encoding = tokenizer_->encode(text, true);
    EXPECT_EQ(encoding.ids, ids);
    ASSERT_EQ(encoding.spans.size(), ids.size());
    size_t previous = 0;
    for (const ByteSpan& span : encoding.spans) {
      EXPECT_LE(span.begin, span.end);
      EXPECT_LE(span.end, text.size());
      if (span.begin != span.end) {
        EXPECT_GE(span.begin, previous);
        previous = span.begin;
      }
    }
    if (HasFailure()) {
      break;
    }
  }
  EXPECT_GT(count, 0u);
}

INSTANTIATE_TEST_SUITE_P(all, tokenizer_golden, testing::ValuesIn(tokenizer_names()),
                         [](const auto& name) { return name.param; });

}  // namespace
}  // namespace nibble::text
