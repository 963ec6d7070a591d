#include <nibble/core/error.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tiny_model.h"

namespace nibble::models {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsSupersetOf;
using testing::tiny_config;
using testing::with;

std::string message(const nlohmann::json& config) {
  try {
    make_model(config, "config.json", meta_parameters());
  } catch (const Error& error) {
    return error.what();
  }
  return "accepted";
}

TEST(Registry, KnowsTheArchitecturesOfTheLibrary) {
  EXPECT_THAT(supported_architectures(),
              IsSupersetOf({"Gemma2ForCausalLM", "Gemma3ForCausalLM", "LlamaForCausalLM",
                            "MistralForCausalLM", "Phi3ForCausalLM", "Qwen2ForCausalLM",
                            "Qwen3ForCausalLM"}));
}

TEST(Registry, AnUnknownArchitectureSaysWhatIsSupportedAndHowToAddOne) {
  EXPECT_THAT(message(with(tiny_config(), "architectures", {"MambaForCausalLM"})),
              AllOf(HasSubstr("config.json: architectures is [\"MambaForCausalLM\"]"),
                    HasSubstr("LlamaForCausalLM"), HasSubstr("register_architecture")));
  EXPECT_THAT(message(with(tiny_config(), "architectures", nullptr)), HasSubstr("missing"));
  EXPECT_THAT(message(with(tiny_config(), "architectures", "LlamaForCausalLM")),
              HasSubstr("a list with one name"));
}

TEST(Registry, AProgramAddsItsOwn) {
  const ModelFactory factory = [](const ConfigReader& reader, const ParameterSource& source) {
    ModelConfig config = parse_decoder_config(reader);
    config.query_key_norm = true;
    return std::make_shared<DecoderLMImpl>(config, reader.json(), source);
  };
  register_architecture("MyForCausalLM", factory);
  EXPECT_THROW(register_architecture("MyForCausalLM", factory), Error);
  const auto model = make_model(with(tiny_config(), "architectures", {"MyForCausalLM"}),
                                "config.json", meta_parameters());
  EXPECT_TRUE(model->named_parameters().contains("model.layers.1.self_attn.q_norm.weight"));
}

TEST(Registry, NamesAreThoseOfHuggingFace) {
  const auto model = testing::tiny_model(with(tiny_config(), "tie_word_embeddings", false));
  const auto parameters = model->named_parameters();
  EXPECT_EQ(parameters["model.embed_tokens.weight"].sizes(), at::IntArrayRef({61, 24}));
  EXPECT_EQ(parameters["model.layers.0.self_attn.k_proj.weight"].sizes(),
            at::IntArrayRef({12, 24}));
  EXPECT_EQ(parameters["model.layers.1.mlp.down_proj.weight"].sizes(), at::IntArrayRef({24, 40}));
  EXPECT_EQ(parameters["lm_head.weight"].sizes(), at::IntArrayRef({61, 24}));
  EXPECT_EQ(parameters.size(), 2u + 9 * 2 + 1);
}

}  // namespace
}  // namespace nibble::models
