#include <nibble/core/error.h>
#include <nibble/models/config.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <cmath>

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
  ASSERT_EQ(config.attention_kinds.size(), 1u);
  EXPECT_THAT(config.layer_kinds, ElementsAre(0));
  EXPECT_EQ(config.attention_kinds[0].rope.theta, 10000.0);
  EXPECT_EQ(config.attention_kinds[0].rope.kind, RopeKind::kDefault);
  EXPECT_EQ(config.attention_kinds[0].rope.rotary_dim, 4);
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
    const RopeOptions rope = parse(config).attention_kinds[0].rope;
    EXPECT_EQ(rope.kind, RopeKind::kLlama3);
    EXPECT_EQ(rope.theta, 500000.0);
    EXPECT_EQ(rope.factor, 32.0);
    EXPECT_EQ(rope.original_max_position_embeddings, 8192);
  }
}

json long_rope() {
  return {{"type", "longrope"}, {"short_factor", {1.0, 1.5}}, {"long_factor", {2.0, 3.0}}};
}

TEST(Config, LongRopeTakesItsAttentionFactorFromTheGrowthOfTheContext) {
  json config = minimal();
  config["max_position_embeddings"] = 4096;
  config["original_max_position_embeddings"] = 64;
  config["rope_scaling"] = long_rope();
  const RopeOptions rope = parse(config).attention_kinds[0].rope;
  EXPECT_EQ(rope.kind, RopeKind::kLongRope);
  EXPECT_EQ(rope.original_max_position_embeddings, 64);
  EXPECT_THAT(rope.short_factors, ElementsAre(1.0, 1.5));
  EXPECT_THAT(rope.long_factors, ElementsAre(2.0, 3.0));
  EXPECT_DOUBLE_EQ(rope.attention_factor, std::sqrt(2.0));  // sqrt(1 + log 64 / log 64)
  config["rope_scaling"]["attention_factor"] = 1.25;
  EXPECT_EQ(parse(config).attention_kinds[0].rope.attention_factor, 1.25);
  config["rope_scaling"].erase("attention_factor");
  config["rope_scaling"]["factor"] = 0.5;
  EXPECT_EQ(parse(config).attention_kinds[0].rope.attention_factor, 1.0);
}

TEST(Config, TheOlderSpellingOfRopeCountsUnlessItIsEmpty) {
  json config = minimal();
  config["rope_parameters"] = {{"rope_type", "linear"}, {"factor", 2.0}};
  config["rope_scaling"] = json::object();
  EXPECT_EQ(parse(config).attention_kinds[0].rope.factor, 2.0);
  config["rope_scaling"] = {{"rope_type", "linear"}, {"factor", 3.0}};
  EXPECT_EQ(parse(config).attention_kinds[0].rope.factor, 3.0);
}

TEST(Config, YarnTakesItsAttentionFactorFromTheGrowthOfTheContext) {
  json config = minimal();
  json& scaling = config["rope_scaling"];
  scaling = {{"type", "yarn"}, {"factor", 4.0}, {"original_max_position_embeddings", 64}};
  const auto rope = [&] { return parse(config).attention_kinds[0].rope; };
  EXPECT_EQ(rope().kind, RopeKind::kYarn);
  EXPECT_EQ(rope().factor, 4.0);
  EXPECT_EQ(rope().beta_fast, 32.0);
  EXPECT_EQ(rope().beta_slow, 1.0);
  EXPECT_TRUE(rope().truncate);
  EXPECT_DOUBLE_EQ(rope().attention_factor, 0.1 * std::log(4.0) + 1.0);
  scaling["mscale"] = 0.5;
  EXPECT_DOUBLE_EQ(rope().attention_factor, 0.1 * std::log(4.0) + 1.0);
  scaling["mscale_all_dim"] = 2.0;
  EXPECT_DOUBLE_EQ(rope().attention_factor,
                   (0.05 * std::log(4.0) + 1.0) / (0.2 * std::log(4.0) + 1.0));
  scaling["attention_factor"] = 1.25;
  EXPECT_EQ(rope().attention_factor, 1.25);
}

TEST(Config, APartOfAHeadMayBeRotated) {
  const auto rotary_dim = [](const json& config) {
    return parse_decoder_config(ConfigReader(config, "config.json"), {.partial_rotary = true})
        .attention_kinds[0]
        .rope.rotary_dim;
  };
  json config = minimal();
  config["partial_rotary_factor"] = 0.5;
  EXPECT_EQ(rotary_dim(config), 2);
  config["rope_parameters"] = {{"partial_rotary_factor", 1.0}};  // the nearer one counts
  EXPECT_EQ(rotary_dim(config), 4);
  for (const double wrong : {0.3, 1.5}) {
    config["rope_parameters"] = {{"partial_rotary_factor", wrong}};
    EXPECT_THROW(rotary_dim(config), Error) << wrong;
  }
}

TEST(Config, WholeHeadsAreRotatedWhereTheArchitectureSaysSo) {
  json config = minimal();
  config["partial_rotary_factor"] = 0.5;
  EXPECT_EQ(parse(config).attention_kinds[0].rope.rotary_dim, 4);
  EXPECT_THAT(message("rope_scaling",
                      {{"type", "linear"}, {"factor", 2.0}, {"partial_rotary_factor", 0.5}}),
              HasSubstr("rope_scaling.partial_rotary_factor is 0.5; this architecture"));
}

TEST(Config, LayerTypesSayWhichLayersHaveTheWindow) {
  json config = minimal();
  config["num_hidden_layers"] = 3;
  const AttentionKind sliding{.rope = {}, .sliding_window = 7};
  const auto kinds = [&] {
    ModelConfig parsed = parse(config);
    set_sliding_layers(parsed, ConfigReader(config, "config.json"), sliding,
                       [](int64_t layer) { return layer == 2; });
    return parsed.layer_kinds;
  };
  EXPECT_THAT(kinds(), ElementsAre(0, 0, 1));
  config["layer_types"] = {"sliding_attention", "full_attention", "full_attention"};
  EXPECT_THAT(kinds(), ElementsAre(1, 0, 0));
  for (const json& wrong : {json{"full_attention"}, json{1, 2, 3}, json("full_attention"),
                            json{"full_attention", "chunked_attention", "full_attention"}}) {
    config["layer_types"] = wrong;
    EXPECT_THROW(kinds(), Error) << wrong;
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
  EXPECT_THAT(message("head_dim", 5), HasSubstr("needs an even head_dim, got 5"));
  EXPECT_THAT(message("hidden_act", "swoosh"),
              AllOf(HasSubstr("hidden_act is \"swoosh\""), HasSubstr("silu")));
  EXPECT_THAT(message("rms_norm_eps", 0), HasSubstr("must be a number above 0"));
  EXPECT_THAT(message("tie_word_embeddings", "yes"), HasSubstr("must be true or false"));
  EXPECT_THAT(message("attention_dropout", 1.0), HasSubstr("from 0 to below 1"));
  EXPECT_THAT(message("eos_token_id", "</s>"), HasSubstr("token id"));
  EXPECT_THAT(message("rope_scaling", 3), HasSubstr("must be an object"));
  EXPECT_THAT(message("rope_scaling", {{"type", "dynamic"}, {"factor", 2.0}}),
              AllOf(HasSubstr("rope_scaling.type is \"dynamic\""),
                    HasSubstr("default linear llama3 longrope su yarn")));
  EXPECT_THAT(message("rope_scaling", {{"type", "linear"}}), HasSubstr("rope_scaling.factor"));
  json factors = long_rope();
  factors["long_factor"] = {1.0, 0.0};
  EXPECT_THAT(message("rope_scaling", factors),
              HasSubstr("rope_scaling.long_factor is [1.0,0.0]; it must be a list of 2 numbers"));
  factors["short_factor"] = {1.0};
  EXPECT_THAT(message("rope_scaling", factors), HasSubstr("rope_scaling.short_factor is [1.0]"));
  EXPECT_THAT(message("pad_token_id", 32), HasSubstr("a token id below vocab_size"));
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
