#include <nibble/core/error.h>
#include <nibble/models/decode_step.h>
#include <nibble/models/generation.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tiny_model.h"

namespace nibble::models {
namespace {

using ::testing::HasSubstr;
using testing::long_rope_config;
using testing::tiny_config;
using testing::tiny_model;
using testing::tiny_tokens;
using testing::with;
using torch::Tensor;

nlohmann::json qwen3_config() {
  auto config = with(tiny_config(), "architectures", {"Qwen3ForCausalLM"});
  config["head_dim"] = 8;
  return config;
}

nlohmann::json phi3_config() {
  auto config = with(tiny_config(), "architectures", {"Phi3ForCausalLM"});
  config["pad_token_id"] = nullptr;
  return config;
}

nlohmann::json mistral_config() {
  return with(with(tiny_config(), "architectures", {"MistralForCausalLM"}), "sliding_window", 4);
}

nlohmann::json qwen2_config() {
  return with(tiny_config(), "architectures", {"Qwen2ForCausalLM"});  // has biases
}

TEST(DecodeStep, GivesTheLogitsOfTheOrdinaryForward) {
  for (const auto& config :
       {tiny_config(), qwen2_config(), qwen3_config(), phi3_config(), mistral_config()}) {
    const torch::NoGradGuard no_grad;
    const auto model = tiny_model(config);
    model->eval();
    const Tensor tokens = tiny_tokens(1, 12);
    const Tensor want = model->forward(tokens)[0];
    KVCache cache = model->make_cache(1, 12);
    model->hidden_states(tokens.narrow(1, 0, 5), {.cache = &cache});
    DecodeStep step(*model, cache);
    for (int64_t at = 5; at < 12; ++at) {
      step.token().fill_(tokens[0][at]);
      step.position().fill_(at);
      const Tensor got = step.logits();
      EXPECT_TRUE(torch::allclose(got, want[at], 1e-4, 1e-4)) << config["architectures"] << at;
    }
  }
}

TEST(DecodeStep, RefusesModelsThatItWouldComputeWrongly) {
  EXPECT_THAT(*DecodeStep::refusal(*tiny_model(long_rope_config())), HasSubstr("rotation"));
  EXPECT_THAT(*DecodeStep::refusal(*tiny_model(with(tiny_config(), "hidden_act", "gelu"))),
              HasSubstr("SiLU"));
  const auto model = tiny_model(long_rope_config());
  const KVCache cache = model->make_cache(1, 8);
  EXPECT_THROW(DecodeStep(*model, cache), Error);
  EXPECT_FALSE(DecodeStep::refusal(*tiny_model()));
}

TEST(DecodeStep, NeedsACacheOfOneRow) {
  const auto model = tiny_model();
  const KVCache cache = model->make_cache(2, 8);
  EXPECT_THROW(DecodeStep(*model, cache), Error);
}

class GraphOnCuda : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!torch::cuda::is_available()) GTEST_SKIP() << "no CUDA device";
    auto config = with(with(tiny_config(), "hidden_size", 256), "num_attention_heads", 4);
    config["num_key_value_heads"] = 2;
    config["intermediate_size"] = 128;
    model_ = tiny_model(config);
    model_->to(torch::kCUDA, torch::kBFloat16);
  }
  Generation run(const GenerationOptions& options) {
    return generate(*model_, std::vector<int64_t>{5, 9, 31}, options);
  }
  static GenerationOptions options() {
    return {.max_new_tokens = 40, .stop_ids = std::vector<int64_t>{}};
  }

  std::shared_ptr<DecoderLMImpl> model_;
};

TEST_F(GraphOnCuda, GreedyTokensAreThoseOfTheOrdinaryForward) {
  GenerationOptions plain = options();
  plain.use_graph = false;
  const Generation graph = run(options()), want = run(plain);
  EXPECT_GT(graph.cost.graph_seconds, 0.0);
  EXPECT_EQ(want.cost.graph_seconds, 0.0);
  EXPECT_EQ(graph.tokens, want.tokens);
}

TEST_F(GraphOnCuda, StopsStreamsAndLeavesACacheThatGoesOn) {
  const auto all = run(options()).tokens;
  GenerationOptions some = options();
  some.stop_ids = std::vector<int64_t>{all[20]};
  std::vector<int64_t> streamed;
  some.on_token = [&](int64_t token) {
    streamed.push_back(token);
    return true;
  };
  PrefixCache cache;
  some.cache = &cache;
  const Generation stopped = run(some);
  EXPECT_EQ(stopped.finish, FinishReason::kStopToken);
  EXPECT_EQ(stopped.tokens, streamed);
  EXPECT_EQ(cache.tokens().size(), 3 + stopped.tokens.size() - 1);

  std::vector<int64_t> text = {5, 9, 31};
  text.insert(text.end(), stopped.tokens.begin(), stopped.tokens.end());
  GenerationOptions more = options();
  more.max_new_tokens = 18;
  const auto fresh = generate(*model_, text, more).tokens;
  more.cache = &cache;
  EXPECT_EQ(generate(*model_, text, more).tokens, fresh);
}

TEST_F(GraphOnCuda, TheSeedDecidesTheSample) {
  GenerationOptions sampled = options();
  sampled.temperature = 1.5;
  sampled.top_k = 20;
  sampled.top_p = 0.9;
  sampled.seed = 1;
  const auto one = run(sampled).tokens;
  EXPECT_EQ(run(sampled).tokens, one);
  sampled.seed = 2;
  EXPECT_NE(run(sampled).tokens, one);
}

}  // namespace
}  // namespace nibble::models
