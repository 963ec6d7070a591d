#include "support/smollm2.h"

#include <nibble/data/sft_dataset.h>
#include <nibble/io/json.h>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <algorithm>

// Rows as transformers' chat template and tokenizer make them (tests/data/smollm2).
namespace nibble::data {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

class SmolLM2Rows : public ::testing::Test {
 protected:
  void SetUp() override {
    const fs::path path = testing::smollm2_gguf();
    if (path.empty()) GTEST_SKIP() << "no SmolLM2-135M-Instruct.Q4_1.gguf (NIBBLE_SMOLLM2_GGUF)";
    format_ = read_text_format(*io::open_checkpoint(path));
  }

  std::optional<TextFormat> format_;
};

TEST_F(SmolLM2Rows, EqualTheReference) {
  const json truth =
      io::read_json_file(fs::path(NIBBLE_SOURCE_DIR) / "tests/data/smollm2/sft_rows.json");
  int64_t targets = 0;
  for (const json& row : truth) {
    const JsonRow source{nlohmann::ordered_json::parse(row.dump()), "sft_rows.json"};
    const Conversation chat = to_conversation(read_columns(source, alpaca_columns()));
    const Row encoded = encode_conversation(*format_, chat, {});
    const std::vector<int64_t> ids = row["ids"];
    const size_t prompt = row["prompt_tokens"];
    EXPECT_EQ(encoded.ids, std::vector<int64_t>(ids.begin(), ids.end() - 1));
    std::vector<int64_t> labels(ids.begin() + 1, ids.end());
    std::fill_n(labels.begin(), prompt - 1, kIgnoreIndex);
    EXPECT_EQ(encoded.labels, labels);
    const Conversation question{nlohmann::ordered_json::array({chat.messages[0]})};
    EXPECT_EQ(encode_prompt(*format_, question),
              std::vector<int64_t>(ids.begin(), ids.begin() + static_cast<int64_t>(prompt)));
    targets += encoded.target_count();
  }
  EXPECT_EQ(targets, 202);
}

TEST_F(SmolLM2Rows, KnowTheirSpecialTokens) {
  EXPECT_EQ(format_->eos_id, 2);
  EXPECT_EQ(format_->pad_id, 2);
  EXPECT_EQ(format_->template_variables["eos_token"], "<|im_end|>");
}

// transformers' return_assistant_tokens_mask, for templates with {% generation %}.
TEST_F(SmolLM2Rows, AssistantMasksEqualTransformers) {
  const fs::path cases = fs::path(NIBBLE_SOURCE_DIR) / "../shared/chat/cases.jsonl";
  if (!fs::exists(cases)) GTEST_SKIP() << "no " << cases;
  int compared = 0;
  for (const JsonRow& row : read_json_rows(cases)) {
    const auto& value = row.value;
    if (!value.contains("assistant_mask") || value["tokenizer"] != "smollm2") continue;
    if (value["add_generation_prompt"] == true) continue;
    TextFormat format = *format_;
    format.chat_template.emplace(value["template"].get<std::string>());
    format.template_variables = value["vars"];
    const Row encoded = encode_conversation(format, {value["messages"], value["tools"]}, {});
    const std::vector<int64_t> ids = value["input_ids"];
    const std::vector<int> mask = value["assistant_mask"];
    EXPECT_EQ(encoded.ids, std::vector<int64_t>(ids.begin(), ids.end() - 1)) << value["name"];
    for (size_t t = 0; t < encoded.labels.size(); ++t) {
      EXPECT_EQ(encoded.labels[t], mask[t + 1] != 0 ? ids[t + 1] : kIgnoreIndex) << value["name"];
    }
    ++compared;
  }
  EXPECT_GT(compared, 0);
}

TEST_F(SmolLM2Rows, RealDatasetsLoadWhole) {
  const fs::path folder = fs::path(NIBBLE_SOURCE_DIR) / "../shared/data";
  if (!fs::exists(folder)) GTEST_SKIP() << "no " << folder;
  const auto load = [&](const char* file, const SftOptions& options) {
    return load_sft_dataset({.paths = {folder / file}}, options, *format_).rows.size();
  };
  SftOptions options;
  options.columns = alpaca_columns();
  EXPECT_EQ(load("alpaca_validation.jsonl", options), 188u);
  options.columns = {.question = {"question"}, .answer = "answer"};
  EXPECT_EQ(load("gsm8k_validation.jsonl", options), 600u);
  options.use_chat_template = false;
  EXPECT_EQ(load("gsm8k_validation.jsonl", options), 600u);
  options.format = RowFormat::kSquad;
  EXPECT_EQ(load("squad_validation.jsonl", options), 200u);
  options.format = RowFormat::kHellaSwag;
  EXPECT_EQ(load("hellaswag_validation.jsonl", options), 2000u);
  options.format = RowFormat::kChat;
  EXPECT_EQ(load("chat_validation.jsonl", options), 72u);
  EXPECT_EQ(load("chat_tools.jsonl", options), 200u);
}

}  // namespace
}  // namespace nibble::data
