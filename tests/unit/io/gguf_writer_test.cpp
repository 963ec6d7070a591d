#include <nibble/core/error.h>
#include <nibble/io/ggml_encode.h>
#include <nibble/io/gguf.h>
#include <nibble/io/gguf_model.h>
#include <nibble/io/gguf_writer.h>

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include <array>
#include <cstring>
#include <fstream>

#include "support/temp_dir.h"

namespace nibble::io {
namespace {

using nibble::testing::TempDir;
using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr uint32_t kF32 = 0, kQ4_0 = 2, kQ8_0 = 8;

template <class Function>
std::string error_of(const Function& function) {
  try {
    function();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

std::vector<int> bytes_of(const std::vector<std::byte>& bytes) {
  std::vector<int> values;
  for (const std::byte byte : bytes) values.push_back(static_cast<int>(byte));
  return values;
}

// Element j lies in the low nibble of byte j, element j + 16 in the high one: neighbours do not
// share a byte, and swapped nibbles would pass any test that looks at sums.
TEST(GgmlEncode, Q4_0PutsElementJAndJPlus16IntoOneByte) {
  std::array<int8_t, 32> codes{};
  codes[0] = -8;
  codes[1] = -7;
  codes[16] = 7;
  codes[17] = 1;
  const auto bytes = bytes_of(encode_q4_0(codes, std::vector{numerics::Float16(0.5f)}));
  ASSERT_EQ(bytes.size(), 18u);
  EXPECT_EQ(bytes[0], 0x00);  // 0.5 in binary16 is 0x3800
  EXPECT_EQ(bytes[1], 0x38);
  EXPECT_EQ(bytes[2], 0xf0);
  EXPECT_EQ(bytes[3], 0x91);
  EXPECT_EQ(bytes[4], 0x88);
}

TEST(GgmlEncode, Q8_0RoundsHalvesAwayFromZero) {
  std::array<float, 32> values{};
  values[0] = 127.0f;  // scale 1
  values[1] = 0.5f;
  values[2] = -0.5f;
  values[3] = 2.4f;
  const auto bytes = bytes_of(quantize_q8_0(values));
  ASSERT_EQ(bytes.size(), 34u);
  EXPECT_THAT(std::vector<int>(bytes.begin(), bytes.begin() + 6),
              ElementsAre(0x00, 0x3c, 127, 1, 0xff, 2));
}

TEST(GgmlEncode, RefusesPartsOfBlocks) {
  EXPECT_THROW(quantize_q8_0(std::array<float, 31>{}), Error);
  EXPECT_THROW(encode_q4_0(std::array<int8_t, 32>{}, std::vector<numerics::Float16>(2)), Error);
}

class GgufWriterTest : public ::testing::Test {
 protected:
  static std::span<const std::byte> as_bytes(const std::vector<float>& values) {
    return std::as_bytes(std::span(values));
  }

  TempDir folder_;
  std::filesystem::path path_ = folder_ / "model.gguf";
  const GgufTensorInfo matrix_{"a", find_ggml_type(kF32), {2, 3}};
  const GgufTensorInfo blocks_{"b", find_ggml_type(kQ4_0), {1, 32}};
};

TEST_F(GgufWriterTest, WritesWhatTheReaderReads) {
  const std::vector<float> values = {1, 2, 3, 4, 5, 6};
  std::vector<int8_t> codes(32);
  for (int i = 0; i < 32; ++i) codes[static_cast<size_t>(i)] = static_cast<int8_t>(i % 16 - 8);
  const auto block = encode_q4_0(codes, std::vector{numerics::Float16(0.25f)});
  {
    GgufWriter writer(path_,
                      {{"u", uint32_t{7}},
                       {"f", 0.5f},
                       {"t", true},
                       {"s", std::string("text")},
                       {"l", std::vector<std::string>{"x", ""}},
                       {"i", std::vector<int32_t>{-1, 2}}},
                      {matrix_, blocks_});
    writer.write("b", block);  // any order
    writer.write("a", as_bytes(values));
    EXPECT_FALSE(std::filesystem::exists(path_)) << "a reader would see a part";
    writer.finish();
  }
  const GgufFile file(path_);
  EXPECT_EQ(file.metadata(), json::parse(R"({"u": 7, "f": 0.5, "t": true, "s": "text",
                                             "l": ["x", ""], "i": [-1, 2]})"));
  EXPECT_THAT(file.names(), ElementsAre("a", "b"));
  EXPECT_EQ(file.at("a").shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(std::memcmp(file.at("a").bytes.data(), values.data(), 24), 0);
  const TensorData read = file.read("b");
  const auto* floats = reinterpret_cast<const float*>(read.bytes.data());
  for (int i = 0; i < 32; ++i) EXPECT_EQ(floats[i], 0.25f * static_cast<float>(i % 16 - 8)) << i;
}

TEST_F(GgufWriterTest, LeavesNothingBehindUnlessFinished) {
  {
    GgufWriter writer(path_, {}, {matrix_});
    EXPECT_THAT(error_of([&] { writer.finish(); }), HasSubstr("\"a\" was not written"));
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder_.path()));
}

TEST_F(GgufWriterTest, RefusesWhatWasNotAnnounced) {
  GgufWriter writer(path_, {}, {matrix_});
  const std::vector<float> five(5), six(6);
  EXPECT_THAT(error_of([&] { writer.write("c", as_bytes(six)); }), HasSubstr("not announced"));
  EXPECT_THAT(error_of([&] { writer.write("a", as_bytes(five)); }), HasSubstr("20 bytes"));
  writer.write("a", as_bytes(six));
  EXPECT_THAT(error_of([&] { writer.write("a", as_bytes(six)); }), HasSubstr("twice"));
  EXPECT_THROW(GgufWriter(path_, {}, {matrix_, matrix_}), Error);
  EXPECT_THROW(GgufWriter(path_, {{"k", true}, {"k", true}}, {}), Error);
  EXPECT_THROW(GgufWriter(path_, {}, {{"b", find_ggml_type(kQ8_0), {4, 31}}}), Error);
}

json llama_config() {
  return {{"architectures", {"LlamaForCausalLM"}},
          {"hidden_size", 64},
          {"intermediate_size", 96},
          {"num_hidden_layers", 2},
          {"vocab_size", 300},
          {"num_attention_heads", 4},
          {"num_key_value_heads", 2}};
}

TEST(GgufModelTest, NamesTensors) {
  const GgufModel model(llama_config(), "config.json");
  EXPECT_EQ(model.tensor_name("model.embed_tokens.weight"), "token_embd.weight");
  EXPECT_EQ(model.tensor_name("lm_head.weight"), "output.weight");
  EXPECT_EQ(model.tensor_name("model.norm.weight"), "output_norm.weight");
  EXPECT_EQ(model.tensor_name("model.layers.11.self_attn.k_proj.bias"), "blk.11.attn_k.bias");
  EXPECT_EQ(model.tensor_name("model.layers.0.post_attention_layernorm.weight"),
            "blk.0.ffn_norm.weight");
  EXPECT_THAT(error_of([&] { model.tensor_name("model.layers.0.self_attn.q_norm.weight"); }),
              HasSubstr("q_norm"));
}

TEST(GgufModelTest, InterleavesRotaryRowsOfLlamaOnly) {
  json config = llama_config();  // 4 heads of 16, 2 of them for keys
  const GgufModel llama(config, "config.json");
  const auto order = llama.row_order("model.layers.0.self_attn.q_proj.weight", 64);
  EXPECT_THAT(std::vector<int64_t>(order.begin(), order.begin() + 4), ElementsAre(0, 8, 1, 9));
  EXPECT_EQ(order[16], 16);  // the second head
  EXPECT_EQ(llama.row_order("model.layers.0.self_attn.k_proj.bias", 32).size(), 32u);
  EXPECT_TRUE(llama.row_order("model.layers.0.self_attn.v_proj.weight", 32).empty());
  config["architectures"] = {"Qwen2ForCausalLM"};
  EXPECT_TRUE(
      GgufModel(config, "c").row_order("model.layers.0.self_attn.q_proj.weight", 64).empty());
}

TEST(GgufModelTest, RefusesWhatLlamaCppDoesNotCompute) {
  const auto error_with = [](const char* key, const json& value) {
    json config = llama_config();
    config[key] = value;
    return error_of([&] { GgufModel(config, "config.json"); });
  };
  EXPECT_THAT(error_with("hidden_act", "gelu"), HasSubstr("hidden_act is gelu"));
  EXPECT_THAT(error_with("architectures", {"BloomForCausalLM"}), HasSubstr("BloomForCausalLM"));
  EXPECT_THAT(error_with("sliding_window", 128), HasSubstr("sliding_window"));
  EXPECT_THAT(error_with("architectures", {"MistralForCausalLM"}), HasSubstr("sliding_window"));
  EXPECT_THAT(error_with("rope_scaling", {{"rope_type", "yarn"}, {"factor", 2.0}}),
              HasSubstr("rope_type yarn"));
  EXPECT_THAT(error_with("vocab_size", -1), HasSubstr("vocab_size"));
}

}  // namespace
}  // namespace nibble::io
