#include <nibble/core/error.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tiny_model.h"

// What a config.json of each architecture means; what it computes is in reference_test.cpp.
namespace nibble::models {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::tiny_config;
using testing::with;

nlohmann::json of(const char* architecture) {
  nlohmann::json config = with(tiny_config(), "architectures", {architecture});
  config["num_hidden_layers"] = 7;
  return config;
}

ModelConfig parsed(const nlohmann::json& config) {
  return make_model(config, "config.json", meta_parameters())->config();
}

std::string message(const nlohmann::json& config) {
  try {
    parsed(config);
  } catch (const Error& error) {
    return error.what();
  }
  return "accepted";
}

TEST(Architectures, MistralHasAWindowUnlessItIsNull) {
  nlohmann::json config = of("MistralForCausalLM");
  EXPECT_EQ(parsed(config).attention_kinds[0].sliding_window, 4096);
  config["sliding_window"] = nullptr;
  EXPECT_EQ(parsed(config).attention_kinds[0].sliding_window, std::nullopt);
}

TEST(Architectures, QwenWindowsTheLayersFromMaxWindowLayers) {
  nlohmann::json config = of("Qwen2ForCausalLM");
  config["sliding_window"] = 16;
  config["max_window_layers"] = 5;
  EXPECT_EQ(parsed(config).attention_kinds.size(), 1u);
  config["use_sliding_window"] = true;
  EXPECT_THAT(parsed(config).layer_kinds, ElementsAre(0, 0, 0, 0, 0, 1, 1));
  EXPECT_EQ(parsed(config).attention_kinds[1].sliding_window, 16);
  config["max_window_layers"] = 0;
  EXPECT_THAT(parsed(config).layer_kinds, ElementsAre(1, 1, 1, 1, 1, 1, 1));
}

TEST(Architectures, Gemma2DefaultsAreThoseOfItsConfigurationClass) {
  nlohmann::json config = of("Gemma2ForCausalLM");
  config.erase("tie_word_embeddings");
  config["hidden_act"] = "gelu";  // published files have it, and transformers ignores it
  const ModelConfig gemma = parsed(config);
  EXPECT_TRUE(gemma.tie_word_embeddings);
  EXPECT_EQ(gemma.activation, Activation::kGeluTanh);
  EXPECT_EQ(gemma.head_dim, 256);
  EXPECT_EQ(gemma.pad_token_id, 0);
  EXPECT_EQ(gemma.attention_scale, 1.0 / 16.0);
  EXPECT_EQ(gemma.attention_soft_cap, 50.0);
  EXPECT_EQ(gemma.logit_soft_cap, 30.0);
  EXPECT_EQ(gemma.embedding_scale, std::sqrt(24.0));
  EXPECT_THAT(gemma.layer_kinds, ElementsAre(1, 0, 1, 0, 1, 0, 1));
  EXPECT_EQ(gemma.attention_kinds[1].sliding_window, 4096);
  EXPECT_EQ(gemma.attention_kinds[0].sliding_window, std::nullopt);
  config["attn_logit_softcapping"] = nullptr;
  EXPECT_EQ(parsed(config).attention_soft_cap, std::nullopt);
  config["use_bidirectional_attention"] = true;
  EXPECT_THAT(message(config), HasSubstr("use_bidirectional_attention is true"));
}

TEST(Architectures, Gemma3ReadsBothSpellingsOfItsTwoRopes) {
  nlohmann::json version4 = of("Gemma3ForCausalLM");
  version4["sliding_window_pattern"] = 3;
  version4["rope_theta"] = 500000.0;
  version4["rope_local_base_freq"] = 2000.0;
  version4["rope_scaling"] = {{"rope_type", "linear"}, {"factor", 8.0}};
  nlohmann::json version5 = of("Gemma3ForCausalLM");
  version5["layer_types"] = nlohmann::json::array();
  for (int layer = 1; layer <= 7; ++layer) {
    version5["layer_types"].push_back(layer % 3 == 0 ? "full_attention" : "sliding_attention");
  }
  version5["rope_parameters"] = {
      {"full_attention", {{"rope_type", "linear"}, {"factor", 8.0}, {"rope_theta", 500000.0}}},
      {"sliding_attention", {{"rope_type", "default"}, {"rope_theta", 2000.0}}}};
  for (const nlohmann::json& config : {version4, version5}) {
    const ModelConfig gemma = parsed(config);
    EXPECT_THAT(gemma.layer_kinds, ElementsAre(1, 1, 0, 1, 1, 0, 1));
    const RopeOptions& full = gemma.attention_kinds[0].rope;
    EXPECT_EQ(full.kind, RopeKind::kLinear);
    EXPECT_EQ(full.theta, 500000.0);
    EXPECT_EQ(full.factor, 8.0);
    const RopeOptions& sliding = gemma.attention_kinds[1].rope;
    EXPECT_EQ(sliding.kind, RopeKind::kDefault);
    EXPECT_EQ(sliding.theta, 2000.0);
    EXPECT_EQ(sliding.rotary_dim, 256);
    EXPECT_EQ(gemma.logit_soft_cap, std::nullopt);
  }
}

TEST(Architectures, Phi3RefusesWhatNoCheckpointUses) {
  nlohmann::json config = of("Phi3ForCausalLM");
  config["pad_token_id"] = 0;
  EXPECT_EQ(message(config), "accepted");
  EXPECT_THAT(message(with(config, "resid_pdrop", 0.1)), HasSubstr("resid_pdrop is 0.1"));
  EXPECT_THAT(message(with(config, "attention_bias", true)), HasSubstr("attention_bias is true"));
  EXPECT_EQ(parsed(config).attention_kinds[0].sliding_window, std::nullopt);
}

TEST(Architectures, AVocabularyOf32003AndAHeadDimOfItsOwn) {
  nlohmann::json config = tiny_config();
  config["head_dim"] = 10;  // not hidden_size / num_attention_heads
  config["num_hidden_layers"] = 1;
  const auto small = testing::tiny_model(config);
  const auto large = testing::tiny_model(with(config, "vocab_size", 32003));
  const torch::NoGradGuard no_grad;
  const auto parameters = large->named_parameters();
  for (const auto& entry : small->named_parameters()) {
    parameters[entry.key()].narrow(0, 0, entry.value().size(0)).copy_(entry.value());
  }
  const torch::Tensor tokens = testing::tiny_tokens(2, 9);
  const torch::Tensor logits = large->forward(tokens);
  EXPECT_EQ(logits.size(-1), 32003);
  EXPECT_LE((logits.narrow(-1, 0, 61) - small->forward(tokens)).abs().max().item<double>(), 1e-5);
}

}  // namespace
}  // namespace nibble::models
