#include "support/mutation.h"

#include <nibble/core/error.h>
#include <nibble/data/sft_dataset.h>

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "support/temp_dir.h"
#include "unit/data/tiny_text_format.h"

namespace nibble::data {
namespace {

using nibble::testing::MutationTest;
using nibble::testing::survive;
using nibble::testing::TempDir;
using nibble::testing::TinyText;

constexpr const char* kTemplate =
    "{% for m in messages %}{{ m['role'] + ':' + m['content'] + '<|im_end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}";

const std::vector<std::string> kRows = {
    R"({"instruction": "Q", "input": "x", "output": "A"})"
    "\n"
    R"({"instruction": "Q2", "input": null, "output": 5})"
    "\n",
    R"({"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "u"},)"
    R"( {"role": "assistant", "content": [{"type": "text", "text": "a"}]}], "tools": []})"
    "\n",
    R"({"conversations": [{"from": "human", "value": "u"}, {"from": "gpt", "value": "a"}]})"
    "\n",
    R"({"context": "c", "question": "q", "answers": {"text": ["a"], "answer_start": [0]}})"
    "\n",
    R"({"ctx": "c", "endings": ["a", "b"], "label": "1", "activity_label": "x"})"
    "\n"};

const std::vector<std::string> kWords = {"{",
                                         "}",
                                         "[",
                                         "]",
                                         "\n",
                                         "\"",
                                         "null",
                                         "\\u0000",
                                         "\\ud83d",
                                         "\xff",
                                         "\xc3",
                                         "[[[[[[",
                                         "{\"a\":",
                                         "\"role\":",
                                         "\"content\":",
                                         "\"text\":[]",
                                         "\"label\":",
                                         "\"tool\"",
                                         "<|im_end|>",
                                         "\r\n",
                                         "\xef\xbb\xbf",
                                         "-1",
                                         "\"assistant\"",
                                         "{}"};

class RowMutation : public ::testing::TestWithParam<RowFormat> {
 protected:
  void try_files(const std::string& name, const std::vector<std::string>& originals) {
    const TextFormat format = TinyText::format(kTemplate);
    SftOptions options;
    options.format = GetParam();
    options.columns = alpaca_columns();
    MutationTest test{.originals = originals, .dictionary = kWords, .mutations = 600};
    test.base_bytes = size_t{8} << 20;
    survive(test, [&](const std::string& text) {
      const std::filesystem::path path = folder_ / name;
      std::filesystem::remove(path);
      std::ofstream(path, std::ios::binary) << text;
      for (const JsonRow& row : read_json_rows(path)) {
        for (const bool chat : {true, false}) {
          options.use_chat_template = chat;
          try {
            encode_row(row, options, format);
          } catch (const Error&) {  // one bad row says nothing about the others
          }
        }
      }
    });
  }

  TempDir folder_;
};

TEST_P(RowMutation, OfJsonLines) { try_files("rows.jsonl", kRows); }

TEST_P(RowMutation, OfJsonArrays) {
  std::vector<std::string> arrays;
  for (const std::string& rows : kRows) {
    arrays.push_back("[" + rows.substr(0, rows.find('\n')) + "]");
  }
  try_files("rows.json", arrays);
}

INSTANTIATE_TEST_SUITE_P(Every, RowMutation,
                         ::testing::Values(RowFormat::kColumns, RowFormat::kChat, RowFormat::kSquad,
                                           RowFormat::kHellaSwag));

}  // namespace
}  // namespace nibble::data
