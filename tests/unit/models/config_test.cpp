#include <nibble/core/error.h>
#include <nibble/models/config.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace nibble::models {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

json minimal() {
  return {{"vocab_size", 32},
          {"hidden_size", 12},
          {"intermediate_size", 20},
          {"num_hidden_layers", 1},
          {"num_attention_heads", 3}};
}

ModelConfig parse(const json& config) {
  return parse_decoder_config(ConfigReader(config, "config.json"));
}

std::string message(const char* key, const json& value) {
  json config = minimal();
  config[key] = value;
  try {
    parse(config);
  } catch (const Error& error) {
    return error.what();
  }
  return "accepted";
}

TEST(Config, DefaultsAreThoseOfLlamaConfig) {
  const ModelConfig config = parse(minimal());
  EXPECT_EQ(config.num_kv_heads, 3);
  EXPECT_EQ(config.head_dim, 4);
  EXPECT_EQ(config.max_position_embeddings, 2048);
  EXPECT_EQ(config.rms_norm_eps, 1e-6);
  EXPECT_EQ(config.rope.theta, 10000.0);
  EXPECT_EQ(config.rope.kind, RopeKind::kDefault);
  EXPECT_EQ(config.activation, Activation::kSilu);
  EXPECT_FALSE(config.tie_word_embeddings);
  EXPECT_TRUE(config.eos_token_ids.empty());
}

TEST(Config, NullIsAbsent) {
  json config = minimal();
  for (const char* key : {"head_dim", "rope_scaling", "num_key_value_heads", "eos_token_id"}) {
    config[key] = nullptr;
  }
  EXPECT_EQ(parse(config).head_dim, 4);
}

TEST(Config, ReadsBothSpellingsOfRope) {
  const json scaling = {{"rope_type", "llama3"},
                        {"factor", 32.0},
                        {"low_freq_factor", 1.0},
                        {"high_freq_factor", 4.0},
                        {"original_max_position_embeddings", 8192}};
  json version4 = minimal();
  version4["rope_theta"] = 500000;
  version4["rope_scaling"] = scaling;
  json version5 = minimal();
  version5["rope_parameters"] = scaling;
  version5["rope_parameters"]["rope_theta"] = 500000.0;
  for (const json& config : {version4, version5}) {
    const RopeOptions rope = parse(config).rope;
    EXPECT_EQ(rope.kind, RopeKind::kLlama3);
    EXPECT_EQ(rope.theta, 500000.0);
    EXPECT_EQ(rope.factor, 32.0);
    EXPECT_EQ(rope.original_max_position_embeddings, 8192);
  }
}

TEST(Config, StopTokensAreOneOrAList) {
  json config = minimal();
  config["eos_token_id"] = 5;
  EXPECT_THAT(parse(config).eos_token_ids, ElementsAre(5));
  config["eos_token_id"] = {5, 9};
  EXPECT_THAT(parse(config).eos_token_ids, ElementsAre(5, 9));
}

TEST(Config, AnErrorNamesFileKeyValueAndWhatIsAllowed) {
  EXPECT_EQ(message("hidden_size", -12),
            "config.json: hidden_size is -12; it must be an integer from 1 to 16777216");
  EXPECT_THAT(message("vocab_size", 12.5), HasSubstr("vocab_size is 12.5; it must be an integer"));
  EXPECT_THAT(message("vocab_size", json()), HasSubstr("vocab_size is missing"));
  EXPECT_THAT(message("vocab_size", uint64_t{1} << 63), HasSubstr("must be an integer from 1"));
  EXPECT_THAT(message("num_hidden_layers", 5000), HasSubstr("from 1 to 4096"));
  EXPECT_THAT(message("num_attention_heads", 5), HasSubstr("must divide hidden_size (12)"));
  EXPECT_THAT(message("num_key_value_heads", 2), HasSubstr("must divide num_attention_heads (3)"));
  EXPECT_THAT(message("head_dim", 5), HasSubstr("needs an even number"));
  EXPECT_THAT(message("hidden_act", "swoosh"),
              AllOf(HasSubstr("hidden_act is \"swoosh\""), HasSubstr("silu")));
  EXPECT_THAT(message("rms_norm_eps", 0), HasSubstr("must be a number above 0"));
  EXPECT_THAT(message("tie_word_embeddings", "yes"), HasSubstr("must be true or false"));
  EXPECT_THAT(message("attention_dropout", 1.0), HasSubstr("from 0 to below 1"));
  EXPECT_THAT(message("eos_token_id", "</s>"), HasSubstr("token id"));
  EXPECT_THAT(message("rope_scaling", 3), HasSubstr("must be an object"));
  EXPECT_THAT(
      message("rope_scaling", {{"type", "yarn"}, {"factor", 2.0}}),
      AllOf(HasSubstr("rope_scaling.type is \"yarn\""), HasSubstr("default linear llama3")));
  EXPECT_THAT(message("rope_scaling", {{"type", "linear"}}), HasSubstr("rope_scaling.factor"));
  EXPECT_THAT(message("rope_scaling",
                      {{"rope_type", "llama3"}, {"factor", 2.0}, {"high_freq_factor", 1.0}}),
              HasSubstr("greater than low_freq_factor"));
}

TEST(Config, MustBeAnObject) {
  const json list = json::array();
  EXPECT_THROW(ConfigReader(list, "config.json"), Error);
}

}  // namespace
}  // namespace nibble::models
