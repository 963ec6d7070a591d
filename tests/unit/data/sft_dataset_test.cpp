#include <nibble/core/error.h>
#include <nibble/data/sft_dataset.h>
#include <nibble/io/file.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "support/temp_dir.h"
#include "unit/data/tiny_text_format.h"

namespace nibble::data {
namespace {

using nibble::testing::TempDir;
using nibble::testing::TinyText;
using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr const char* kTemplate =
    "{% for m in messages %}{{ m['role'][0] + ':' + m['content'] + '<|im_end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}a:{% endif %}";

class SftDatasetTest : public ::testing::Test {
 protected:
  RowSelection rows(const std::string& content) {
    io::write_file_atomically(folder_ / "rows.jsonl", content);
    return {.paths = {folder_ / "rows.jsonl"}};
  }
  static SftOptions alpaca() {
    SftOptions options;
    options.columns = alpaca_columns();
    return options;
  }
  std::string error_of(const std::string& content, const SftOptions& options) {
    try {
      load_sft_dataset(rows(content), options, format_);
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  }

  TempDir folder_;
  TextFormat format_ = TinyText::format(kTemplate);
};

const std::string kGood = R"({"instruction": "Q", "input": "", "output": "A"})"
                          "\n";
const std::string kNoAnswer = R"({"instruction": "Q", "input": ""})"
                              "\n";

TEST_F(SftDatasetTest, CountsRowsAndTargets) {
  const SftDataset dataset = load_sft_dataset(rows(kGood + kGood), alpaca(), format_);
  EXPECT_EQ(dataset.rows.size(), 2u);
  EXPECT_EQ(dataset.target_tokens, 4);
  EXPECT_EQ(dataset.skipped_rows, 0);
}

TEST_F(SftDatasetTest, AnInvalidRowIsAnErrorUnlessSkipped) {
  SftOptions options = alpaca();
  EXPECT_THAT(error_of(kGood + kNoAnswer, options),
              AllOf(HasSubstr("rows.jsonl:2: "), HasSubstr("columns found: instruction, input")));
  options.skip_invalid_samples = true;
  const SftDataset dataset = load_sft_dataset(rows(kNoAnswer + kGood), options, format_);
  EXPECT_EQ(dataset.rows.size(), 1u);
  EXPECT_EQ(dataset.skipped_rows, 1);
  EXPECT_THAT(error_of(kNoAnswer + kNoAnswer, options),
              AllOf(HasSubstr("none of the 2 rows"), HasSubstr("rows.jsonl:1: ")));
}

TEST_F(SftDatasetTest, ManyRowsKeepTheirOrder) {
  std::string content;
  for (size_t i = 0; i < 300; ++i) {
    content +=
        R"({"instruction": "Q", "input": "", "output": ")" + std::string(1 + i % 50, 'A') + "\"}\n";
  }
  const SftDataset dataset = load_sft_dataset(rows(content), alpaca(), format_);
  ASSERT_EQ(dataset.rows.size(), 300u);
  for (size_t i = 0; i < dataset.rows.size(); ++i) {
    EXPECT_EQ(dataset.rows[i].target_count(), static_cast<int64_t>(2 + i % 50)) << i;
  }
  EXPECT_THAT(error_of(content + kNoAnswer + kGood + kNoAnswer, alpaca()),
              HasSubstr("rows.jsonl:301: "));
}

TEST_F(SftDatasetTest, LinesThatAreNoJsonAreErrorsOrSkipped) {
  SftOptions options = alpaca();
  EXPECT_THAT(error_of(kGood + "{bad\n", options), HasSubstr("rows.jsonl:2:2: not valid JSON"));
  options.skip_invalid_samples = true;
  const SftDataset dataset = load_sft_dataset(rows("{bad\n" + kGood + "7\n"), options, format_);
  EXPECT_EQ(dataset.rows.size(), 1u);
  EXPECT_EQ(dataset.skipped_rows, 2);
}

TEST_F(SftDatasetTest, AnAnswerWithoutTextIsInvalid) {
  for (const char* answer : {"", "  \\n\\t"}) {
    const std::string row =
        R"({"instruction": "Q", "input": "", "output": ")" + std::string(answer) + "\"}\n";
    SftOptions options = alpaca();
    EXPECT_THAT(error_of(kGood + row, options), HasSubstr("rows.jsonl:2: the answer has no text"));
    options.use_chat_template = false;
    EXPECT_THAT(error_of(row, options), HasSubstr("the answer has no text"));
    options.skip_invalid_samples = true;
    EXPECT_EQ(load_sft_dataset(rows(kGood + row), options, format_).skipped_rows, 1);
  }
}

TEST_F(SftDatasetTest, AMessageWithoutTextIsInvalid) {
  SftOptions options;
  options.format = RowFormat::kChat;
  const std::string user = R"({"role": "user", "content": "Q"})";
  const std::string assistant = R"({"role": "assistant", "content": "A"})";
  const auto error = [&](const std::string& first, const std::string& second) {
    return error_of("{\"messages\": [" + first + ", " + second + "]}", options);
  };
  EXPECT_EQ(error(user, assistant), "no error");
  for (const char* content : {R"(, "content": null)", R"(, "content": " ")", ""}) {
    EXPECT_THAT(error(R"({"role": "user")" + std::string(content) + "}", assistant),
                HasSubstr("rows.jsonl:1: message 0 (user) has no text"));
    EXPECT_THAT(error(user, R"({"role": "assistant")" + std::string(content) + "}"),
                HasSubstr("rows.jsonl:1: message 1 (assistant) has no text"));
  }
  EXPECT_THAT(error(user, R"({"role": "assistant", "content": null, "tool_calls": []})"),
              HasSubstr("has no text"));
  EXPECT_EQ(error(user, R"({"role": "assistant", "content": null, "tool_calls": [{"name": "f"}]})"),
            "no error");
  EXPECT_EQ(error(R"({"role": "system", "content": ""})", user + ", " + assistant), "no error");
}

TEST_F(SftDatasetTest, TheSourceFingerprintIsThatOfTheRowsNotOfTheirTokens) {
  const std::string print = load_sft_dataset(rows(kGood), alpaca(), format_).source_fingerprint;
  SftOptions plain = alpaca();
  plain.use_chat_template = false;
  EXPECT_EQ(load_sft_dataset(rows(kGood), plain, format_).source_fingerprint, print);
  const std::string other = R"({"instruction": "Q", "input": "", "output": "B"})";
  EXPECT_NE(load_sft_dataset(rows(other), alpaca(), format_).source_fingerprint, print);
}

TEST_F(SftDatasetTest, LongRowsAreErrorsOrCut) {
  SftOptions options = alpaca();
  options.seq_length = 6;  // "u:Q<|im_end|>a:" has 6 tokens, the whole row 7 positions
  EXPECT_THAT(error_of(kGood, options), AllOf(HasSubstr("rows.jsonl:1: "), HasSubstr("7 tokens"),
                                              HasSubstr("seq_length is 6")));
  options.truncation = true;
  const SftDataset cut = load_sft_dataset(rows(kGood), options, format_);
  EXPECT_EQ(cut.rows[0].ids.size(), 6u);
  EXPECT_EQ(cut.rows[0].target_count(), 1);
  EXPECT_EQ(cut.truncated_rows, 1);
  options.seq_length = 5;
  EXPECT_THAT(error_of(kGood, options),
              AllOf(HasSubstr("no target token"), HasSubstr("cutting 7 tokens")));
  options.seq_length = 0;
  EXPECT_THAT(error_of(kGood, options), HasSubstr("1 and more"));
}

TEST_F(SftDatasetTest, ARowWithoutTargetsIsInvalid) {
  SftOptions options;
  options.format = RowFormat::kChat;
  EXPECT_THAT(error_of(R"({"messages": [{"role": "user", "content": "Hi"}]})", options),
              AllOf(HasSubstr("rows.jsonl:1: "), HasSubstr("no target token")));
}

TEST_F(SftDatasetTest, EveryFormatGivesRows) {
  SftOptions options;
  options.format = RowFormat::kSquad;
  const std::string squad = R"({"context": "C", "question": "Q", "answers": {"text": ["A"]}})";
  EXPECT_EQ(load_sft_dataset(rows(squad), options, format_).target_tokens, 2);
  options.format = RowFormat::kHellaSwag;
  const std::string hellaswag = R"({"ctx": "C", "endings": ["abc", "d"], "label": 0})";
  EXPECT_EQ(load_sft_dataset(rows(hellaswag), options, format_).target_tokens, 3);
  options.format = RowFormat::kChat;
  const std::string chat =
      R"({"conversations": [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}]})";
  EXPECT_EQ(load_sft_dataset(rows(chat), options, format_).target_tokens, 2);
}

TEST_F(SftDatasetTest, PlainTextNeedsNoTemplate) {
  format_.chat_template.reset();
  SftOptions options = alpaca();
  EXPECT_THAT(error_of(kGood, options), HasSubstr("use_hf_chat_template: false"));
  options.use_chat_template = false;
  EXPECT_EQ(load_sft_dataset(rows(kGood), options, format_).target_tokens, 2);
}

TEST_F(SftDatasetTest, TheMappingNeedsAnAnswer) {
  EXPECT_THAT(error_of(kGood, SftOptions{}), HasSubstr("answer column"));
}

}  // namespace
}  // namespace nibble::data
