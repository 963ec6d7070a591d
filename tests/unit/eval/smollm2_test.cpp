#include "support/smollm2.h"

#include <nibble/core/error.h>
#include <nibble/data/row_encoder.h>
#include <nibble/eval/logits.h>
#include <nibble/eval/model_loading.h>
#include <nibble/eval/multiple_choice.h>
#include <nibble/eval/perplexity.h>
#include <nibble/eval/teacher_forcing.h>
#include <nibble/io/json.h>
#include <nibble/io/safetensors.h>
#include <nibble/quantization/quantize.h>

#include <torch/torch.h>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <span>

#include "support/temp_dir.h"

// The real model against transformers (tests/data/smollm2).
namespace nibble::eval {
namespace {

using nlohmann::json;

json reference(const std::string& name) {
  return io::read_json_file(std::filesystem::path(NIBBLE_SOURCE_DIR) / "tests/data/smollm2" / name);
}

class SmolLM2 : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::filesystem::path path = testing::smollm2_gguf();
    if (path.empty()) GTEST_SKIP() << "no SmolLM2-135M-Instruct.Q4_1.gguf (NIBBLE_SMOLLM2_GGUF)";
    // The reference read the weights rounded to bfloat16, the Q8_0 embedding too.
    loaded_.checkpoint = io::open_checkpoint(path);
    loaded_.model = models::load_model(*loaded_.checkpoint);
    const at::NoGradGuard no_grad;
    for (at::Tensor& parameter : loaded_.model->parameters()) {
      parameter.copy_(parameter.to(at::kBFloat16));
    }
    format_ = data::read_text_format(*loaded_.checkpoint);
  }

  LoadedModel loaded_;
  std::optional<data::TextFormat> format_;
};

TEST_F(SmolLM2, Perplexity) {
  const json truth = reference("perplexity.json");
  const std::vector<int64_t> ids = truth["ids"];
  const Perplexity result = evaluate_perplexity(*loaded_.model, ids, truth["context"]);
  const double mean =
      (truth["window_means"][0].get<double>() + truth["window_means"][1].get<double>()) / 2;
  EXPECT_EQ(result.scored, 1022);
  EXPECT_NEAR(result.value, std::exp(mean), 1e-3);

  // Post-training quantization with group 64 costs 40 % on the whole text: it cannot be a no-op.
  const std::span<const int64_t> beginning = std::span(ids).first(128);
  const double before = evaluate_perplexity(*loaded_.model, beginning, 128).value;
  quantize_(*loaded_.model, int4_weight_only(64));
  EXPECT_GT(evaluate_perplexity(*loaded_.model, beginning, 128).value, 1.1 * before);
}

TEST_F(SmolLM2, MultipleChoice) {
  const json truth = reference("hellaswag.json");
  std::vector<ChoiceQuestion> questions;
  for (const json& row : truth) {
    questions.push_back({row["query"], row["endings"], row["label"]});
  }
  const MultipleChoice result =
      evaluate_multiple_choice(*loaded_.model, format_->tokenizer, questions);
  for (size_t i = 0; i < questions.size(); ++i) {
    for (size_t ending = 0; ending < questions[i].endings.size(); ++ending) {
      EXPECT_NEAR(result.questions[i].log_likelihoods[ending], truth[i]["ll"][ending], 1e-2);
    }
    EXPECT_EQ(result.questions[i].predicted, truth[i]["pred"]);
    EXPECT_EQ(result.questions[i].predicted_normalized, truth[i]["pred_norm"]);
  }
}

TEST_F(SmolLM2, LossOfTheReferenceRows) {
  constexpr double kStepZeroLoss = 1.8621577881276608;  // sft_reference.json, arm fp
  std::vector<data::Row> rows;
  for (const json& row : reference("sft_rows.json")) {
    const std::vector<int64_t> ids = row["ids"];
    const size_t prompt = row["prompt_tokens"];
    rows.push_back({{ids.begin(), ids.end() - 1}, {ids.begin() + 1, ids.end()}});
    std::fill_n(rows.back().labels.begin(), prompt - 1, data::kIgnoreIndex);
  }
  const TeacherForcing result = evaluate_rows(*loaded_.model, rows);
  EXPECT_EQ(result.targets, 202);
  EXPECT_NEAR(result.loss, kStepZeroLoss, 1e-5 * kStepZeroLoss);
}

TEST_F(SmolLM2, WritesLogits) {
  const testing::TempDir folder;
  const std::vector<int64_t> ids = {1, 9690, 198};
  write_logits(*loaded_.model, ids, folder / "logits.safetensors");
  const io::SafetensorsFile file(folder / "logits.safetensors");
  EXPECT_EQ(file.at("logits").shape, (std::vector<int64_t>{3, 49152}));
  EXPECT_EQ(file.at("logits").dtype, io::DType::kF32);
  EXPECT_EQ(file.at("tokens").dtype, io::DType::kI64);
  EXPECT_THROW(write_logits(*loaded_.model, std::vector<int64_t>{49152}, folder / "x"), Error);
}

}  // namespace
}  // namespace nibble::eval
