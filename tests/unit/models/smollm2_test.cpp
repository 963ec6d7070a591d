#include "support/smollm2.h"

#include <nibble/io/json.h>
#include <nibble/models/generation.h>
#include <nibble/models/loading.h>

#include <torch/torch.h>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <algorithm>

// The real model against transformers (tests/data/smollm2).
namespace nibble::models {
namespace {

using nlohmann::json;
using torch::Tensor;

constexpr double kLogitTolerance = 2e-4;
constexpr size_t kGreedyTokens = 16;
constexpr double kSafeMargin = 0.01;  // below this gap rounding may choose the other token

json reference(const std::string& name) {
  return io::read_json_file(std::filesystem::path(NIBBLE_SOURCE_DIR) / "tests/data/smollm2" / name);
}

class SmolLM2 : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::filesystem::path path = nibble::testing::smollm2_gguf();
    if (path.empty()) GTEST_SKIP() << "no SmolLM2-135M-Instruct.Q4_1.gguf (NIBBLE_SMOLLM2_GGUF)";
    // The reference read the weights rounded to bfloat16.
    model_ = load_model_from_checkpoint(path, {.dtype = torch::kBFloat16});
    model_->to(torch::kFloat);
    model_->eval();
  }

  std::shared_ptr<CausalLMImpl> model_;
};

void expect_logits(const Tensor& logits, int64_t stride, const json& values) {
  const Tensor expected = torch::tensor(values.get<std::vector<float>>());
  const Tensor sampled = logits.slice(0, 0, std::nullopt, stride);
  ASSERT_EQ(sampled.sizes(), expected.sizes());
  EXPECT_LE((sampled - expected).abs().max().item<double>(), kLogitTolerance);
}

TEST_F(SmolLM2, Logits) {
  const torch::NoGradGuard no_grad;
  const json truth = reference("logits.json");
  for (const json& prompt : truth["last"]) {
    const Tensor ids = torch::tensor(prompt["ids"].get<std::vector<int64_t>>()).unsqueeze(0);
    const Tensor logits = model_->forward(ids)[0];
    expect_logits(logits[-1], truth["stride"], prompt["logits"]);
    EXPECT_EQ(logits[-1].argmax().item<int64_t>(), prompt["top1"].get<int64_t>());
    if (&prompt != &truth["last"].front()) continue;
    for (size_t position = 0; position < truth["all"].size(); ++position) {
      expect_logits(logits[static_cast<int64_t>(position)], truth["all_stride"],
                    truth["all"][position]);
    }
  }
}

TEST_F(SmolLM2, GreedyTexts) {
  for (const json& row : reference("greedy.json")) {
    const auto expected = row["new_ids"].get<std::vector<int64_t>>();
    const auto margins = row["top1_top2_margin"].get<std::vector<double>>();
    const Generation result =
        generate(*model_, row["prompt_ids"].get<std::vector<int64_t>>(),
                 {.max_new_tokens = kGreedyTokens, .stop_ids = std::vector<int64_t>{2}});
    const size_t compared = std::min(expected.size(), kGreedyTokens);
    for (size_t i = 0; i < compared && margins[i] > kSafeMargin; ++i) {
      ASSERT_LT(i, result.tokens.size());
      ASSERT_EQ(result.tokens[i], expected[i]) << "token " << i;
    }
  }
}

}  // namespace
}  // namespace nibble::models
