#include <nibble/core/error.h>
#include <nibble/models/decode_plan.h>
#include <nibble/models/generation.h>

#include <ATen/Parallel.h>
#include <ATen/autocast_mode.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tiny_model.h"

namespace nibble::models {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;
using testing::tiny_config;
using testing::tiny_model;
using testing::tiny_tokens;
using testing::with;
using torch::Tensor;

constexpr nn::QuantizationSpec k8da4w = {.scheme = nn::Scheme::k8da4w, .group_size = 8};
constexpr nn::QuantizationSpec k4w = {
    .scheme = nn::Scheme::k4w, .group_size = 8, .grid = nn::WeightGrid::kAsymmetric};

/// Sizes that the kernels take, of which no rows fill whole tiles of 32: 72, 144, 48 and 104.
nlohmann::json config_of(const char* architecture) {
  nlohmann::json config = with(tiny_config(), "architectures", {architecture});
  config["hidden_size"] = 72;
  config["head_dim"] = 48;
  config["intermediate_size"] = 104;
  config["num_attention_heads"] = 3;
  config["num_key_value_heads"] = 1;
  config["pad_token_id"] = nullptr;
  return config;
}

/// Biases that are not 0, and norm weights that are not 1.
void randomize_vectors(DecoderLMImpl& model) {
  for (auto& parameter : model.named_parameters()) {
    if (parameter->dim() != 1) continue;
    const bool is_bias = parameter.key().find("bias") != std::string::npos;
    parameter.value().normal_(is_bias ? 0.0 : 1.0, 0.3);
  }
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
  torch::manual_seed(5);
  randomize_vectors(*model);
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

TEST(DecodePlan, AddsTheBiasesOfAllLinears) {
  nlohmann::json config = config_of("LlamaForCausalLM");
  config["attention_bias"] = true;
  config["mlp_bias"] = true;
  for (const nn::QuantizationSpec& spec : {k8da4w, k4w}) {
    const auto model = converted_model(config, spec, at::kBFloat16);
    ASSERT_TRUE(model->model->layers[0]->as<DecoderLayerImpl>()->mlp->down_proj->bias.defined());
    expect_the_bits_of_the_forward(*model, to_string(spec));
  }
}

TEST(DecodePlan, GivesTheSameBitsForAnyNumberOfThreads) {
  const int before = at::get_num_threads();
  const auto model = converted_model(config_of("Qwen3ForCausalLM"), k8da4w);
  for (const int threads : {1, 3, 8}) {
    at::set_num_threads(threads);
    expect_the_bits_of_the_forward(*model, std::to_string(threads) + " threads");
  }
  at::set_num_threads(before);
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

TEST(DecodePlan, GenerationTakesItWhereItMay) {
  const auto model = converted_model(config_of("LlamaForCausalLM"), k4w, at::kBFloat16);
  GenerationOptions options{.max_new_tokens = 20, .stop_ids = {{}}};
  const auto run = [&] { return generate(*model, std::vector<int64_t>{5, 9, 31}, options); };
  const Generation plan = run();
  EXPECT_EQ(plan.cost.decode_path, DecodePath::kPlan);
  options.use_plan = false;
  const Generation forward = run();
  EXPECT_EQ(forward.cost.decode_path, DecodePath::kForward);
  EXPECT_EQ(plan.tokens, forward.tokens);
  options.use_plan = true;
  at::autocast::set_autocast_enabled(at::kCPU, true);
  const Generation autocast = run();
  at::autocast::set_autocast_enabled(at::kCPU, false);
  EXPECT_EQ(autocast.cost.decode_path, DecodePath::kForward);
}

TEST(DecodePlan, RefusesWhatItWouldComputeWrongly) {
  const auto refusal = [](const std::shared_ptr<DecoderLMImpl>& model) {
    return DecodePlan::refusal(*model).value_or("none");
  };
  const auto llama = config_of("LlamaForCausalLM");
  EXPECT_THAT(refusal(tiny_model(llama)), HasSubstr("converted"));
  EXPECT_THAT(refusal(converted_model(with(llama, "head_dim", 8), k8da4w)), HasSubstr("16"));

  const auto layer = [](const std::shared_ptr<DecoderLMImpl>& model) {
    return model->model->layers[1]->as<DecoderLayerImpl>();
  };
  const auto mixed = converted_model(llama, k8da4w);
  layer(mixed)->mlp->down_proj->to(at::kHalf);
  EXPECT_THAT(refusal(mixed), HasSubstr("dtype"));
  KVCache cache = mixed->make_cache(1, 8);
  EXPECT_THROW(DecodePlan(*mixed, cache), Error);
  const auto norm = converted_model(llama, k8da4w);
  layer(norm)->post_attention_layernorm->to(at::kHalf);
  EXPECT_THAT(refusal(norm), HasSubstr("dtype"));
  const auto head_norm = converted_model(config_of("Qwen3ForCausalLM"), k8da4w);
  layer(head_norm)->self_attn->k_norm->to(at::kHalf);
  EXPECT_THAT(refusal(head_norm), HasSubstr("dtype"));
  const auto bias = converted_model(config_of("Qwen2ForCausalLM"), k8da4w);
  auto& wider = layer(bias)->self_attn->q_proj->bias;
  wider = wider.to(at::kDouble);
  EXPECT_THAT(refusal(bias), HasSubstr("dtype"));
}

TEST(DecodePlan, RefusesWhatItIsNotFor) {
  const auto model = converted_model(config_of("LlamaForCausalLM"), k8da4w);
  KVCache two_rows = model->make_cache(2, 8);
  EXPECT_THROW(DecodePlan(*model, two_rows), Error);
  KVCache cache = model->make_cache(1, 4);
  const auto with_gradients = [&] {
    const torch::NoGradGuard no_grad;
    return std::make_unique<DecodePlan>(*model, cache);
  }();
  EXPECT_THAT([&] { with_gradients->logits(3); }, ThrowsMessage<Error>(HasSubstr("gradients")));
  const torch::NoGradGuard no_grad;
  DecodePlan plan(*model, cache);
  plan.logits(3);
  cache.reserve(16);
  EXPECT_THAT([&] { plan.logits(3); }, ThrowsMessage<Error>(HasSubstr("grown")));
}

}  // namespace
}  // namespace nibble::models
