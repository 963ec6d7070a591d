#include <nibble/core/error.h>
#include <nibble/models/decode_plan.h>
#include <nibble/models/generation.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tiny_model.h"

namespace nibble::models {
namespace {

using ::testing::HasSubstr;
using testing::tiny_config;
using testing::tiny_model;
using testing::tiny_tokens;
using testing::with;
using torch::Tensor;

constexpr nn::QuantizationSpec k8da4w = {.scheme = nn::Scheme::k8da4w, .group_size = 32};
constexpr nn::QuantizationSpec k4w = {
    .scheme = nn::Scheme::k4w, .group_size = 32, .grid = nn::WeightGrid::kAsymmetric};

/// Sizes that the kernels take: 4 heads of 16 over 2 key heads, rows that fill no whole tile.
nlohmann::json config_of(const char* architecture) {
  nlohmann::json config = with(tiny_config(), "architectures", {architecture});
  config["hidden_size"] = 64;
  config["head_dim"] = 16;
  config["intermediate_size"] = 96;
  config["num_attention_heads"] = 4;
  config["num_key_value_heads"] = 2;
  config["pad_token_id"] = nullptr;
  return config;
}

void convert_layers(DecoderLMImpl& model, const nn::QuantizationSpec& spec) {
  for (const auto& module : model.model->layers->modules()) {
    if (auto* linear = module->as<nn::LinearImpl>()) {
      linear->prepare(spec);
      linear->convert();
    }
  }
}

std::shared_ptr<DecoderLMImpl> converted_model(const nlohmann::json& config,
                                               const nn::QuantizationSpec& spec,
                                               at::ScalarType dtype = at::kFloat) {
  const torch::NoGradGuard no_grad;
  auto model = tiny_model(config);
  model->to(dtype);
  convert_layers(*model, spec);
  model->eval();
  return model;
}

/// The logits behind each token from the fifth on: by the plan, and by the ordinary forward.
void expect_the_bits_of_the_forward(DecoderLMImpl& model, const std::string& what) {
  const torch::NoGradGuard no_grad;
  const Tensor tokens = tiny_tokens(1, 12);
  KVCache cache = model.make_cache(1, 12), plain = model.make_cache(1, 12);
  for (KVCache* filled : {&cache, &plain}) {
    model.hidden_states(tokens.narrow(1, 0, 5), {.cache = filled});
  }
  DecodePlan plan(model, cache);
  for (int64_t at = 5; at < 12; ++at) {
    const Tensor hidden = model.hidden_states(tokens.narrow(1, at, 1), {.cache = &plain});
    const Tensor want = model.logits(hidden[0][-1]);
    EXPECT_TRUE(plan.logits(tokens[0][at].item<int64_t>()).equal(want)) << what << " at " << at;
    EXPECT_EQ(cache.length(), at + 1);
  }
  EXPECT_THROW(plan.logits(0), Error) << "the cache is full";
}

TEST(DecodePlan, GivesTheBitsOfTheOrdinaryForward) {
  for (const char* architecture : {"LlamaForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM",
                                   "Phi3ForCausalLM", "MistralForCausalLM"}) {
    for (const nn::QuantizationSpec& spec : {k8da4w, k4w}) {
      for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16, at::kHalf}) {
        const auto model = converted_model(config_of(architecture), spec, dtype);
        expect_the_bits_of_the_forward(
            *model, std::string(architecture) + " " + to_string(spec) + " " + toString(dtype));
      }
    }
  }
}

TEST(DecodePlan, SeesNoMoreThanASlidingWindow) {
  const auto model =
      converted_model(with(config_of("MistralForCausalLM"), "sliding_window", 4), k8da4w);
  const torch::NoGradGuard no_grad;
  const Tensor tokens = tiny_tokens(1, 12), want = model->forward(tokens)[0];
  KVCache cache = model->make_cache(1, 12);
  model->hidden_states(tokens.narrow(1, 0, 5), {.cache = &cache});
  DecodePlan plan(*model, cache);
  for (int64_t at = 5; at < 12; ++at) {
    const Tensor got = plan.logits(tokens[0][at].item<int64_t>());
    EXPECT_TRUE(torch::allclose(got, want[at], 1e-3, 1e-3)) << at;
  }
}

TEST(DecodePlan, GenerationTakesIt) {
  const auto model = converted_model(config_of("LlamaForCausalLM"), k4w, at::kBFloat16);
  ASSERT_FALSE(DecodePlan::refusal(*model));
  const std::vector<int64_t> prompt = {5, 9, 31};
  const Generation all = generate(*model, prompt, {.max_new_tokens = 20, .stop_ids = {{}}});
  ASSERT_EQ(all.tokens.size(), 20u);
  // One token a call is decoded by ordinary forwards alone.
  std::vector<int64_t> text = prompt;
  PrefixCache kept;
  for (const int64_t token : all.tokens) {
    const Generation one =
        generate(*model, text, {.max_new_tokens = 1, .stop_ids = {{}}, .cache = &kept});
    EXPECT_EQ(one.tokens, std::vector<int64_t>{token});
    text.push_back(token);
  }
}

TEST(DecodePlan, RefusesWhatItWouldComputeWrongly) {
  EXPECT_THAT(*DecodePlan::refusal(*tiny_model(config_of("LlamaForCausalLM"))),
              HasSubstr("converted"));
  const auto small_heads = converted_model(
      with(config_of("LlamaForCausalLM"), "head_dim", 8), k8da4w);
  EXPECT_THAT(*DecodePlan::refusal(*small_heads), HasSubstr("16"));
  const auto mixed = converted_model(config_of("LlamaForCausalLM"), k8da4w);
  mixed->model->layers[1]->as<DecoderLayerImpl>()->mlp->down_proj->to(at::kHalf);
  EXPECT_THAT(*DecodePlan::refusal(*mixed), HasSubstr("dtype"));
  KVCache cache = mixed->make_cache(1, 8);
  EXPECT_THROW(DecodePlan(*mixed, cache), Error);
  const auto model = converted_model(config_of("LlamaForCausalLM"), k8da4w);
  KVCache two_rows = model->make_cache(2, 8);
  EXPECT_THROW(DecodePlan(*model, two_rows), Error);
}

}  // namespace
}  // namespace nibble::models
