#include <nibble/io/checkpoint.h>
#include <nibble/io/json.h>
#include <nibble/numerics/float_types.h>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <array>
#include <cstdlib>
#include <cstring>

#include "reference_data.h"

// A real model against what the gguf package and a Hugging Face conversion make of it
// (reference/make_reference.py).
namespace nibble::io {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::reference;

/// CRC-32 as zlib computes it.
class Crc32 {
 public:
  void add(uint8_t byte) { state_ = kTable[(state_ ^ byte) & 0xff] ^ (state_ >> 8); }
  uint32_t value() const { return ~state_; }

 private:
  static constexpr std::array<uint32_t, 256> kTable = [] {
    std::array<uint32_t, 256> table{};
    for (uint32_t i = 0; i < 256; ++i) {
      table[i] = i;
      for (int bit = 0; bit < 8; ++bit) {
        table[i] = (table[i] >> 1) ^ ((table[i] & 1) != 0 ? 0xedb88320u : 0u);
      }
    }
    return table;
  }();
  uint32_t state_ = 0xffffffff;
};

/// NIBBLE_SMOLLM2_GGUF, else the model's file anywhere under models/.
fs::path find_model(const std::string& file_name) {
  if (const char* path = std::getenv("NIBBLE_SMOLLM2_GGUF")) return path;
  const fs::path models = fs::path(NIBBLE_SOURCE_DIR) / "models";
  if (!fs::is_directory(models)) return {};
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(models)) {
    if (entry.path().filename() == file_name) return entry.path();
  }
  return {};
}

/// "576x1536 0a1b2c3d": the shape and the checksum of the values rounded to bfloat16.
std::string fingerprint(const TensorData& tensor) {
  std::string shape;
  for (const int64_t size : tensor.shape)
    shape += (shape.empty() ? "" : "x") + std::to_string(size);
  Crc32 crc;
  for (size_t i = 0; i < tensor.bytes.size(); i += sizeof(float)) {
    float value = 0;
    std::memcpy(&value, tensor.bytes.data() + i, sizeof(value));
    const uint16_t bits = numerics::BFloat16(value).bits;
    crc.add(static_cast<uint8_t>(bits & 0xff));
    crc.add(static_cast<uint8_t>(bits >> 8));
  }
  std::array<char, 16> text;
  std::snprintf(text.data(), text.size(), " %08x", crc.value());
  return shape + text.data();
}

class Smollm2Gguf : public ::testing::Test {
 protected:
  void SetUp() override {
    const fs::path path = find_model(expected_.at("model"));
    if (path.empty()) {
      GTEST_SKIP() << "no " << expected_.at("model")
                   << " in models/ and NIBBLE_SMOLLM2_GGUF is not set";
    }
    checkpoint_ = open_checkpoint(path);
  }

  json expected_ = reference("smollm2_gguf.json");
  std::unique_ptr<Checkpoint> checkpoint_;
};

TEST_F(Smollm2Gguf, HasTheConvertersConfigurationAndTokenizer) {
  EXPECT_EQ(checkpoint_->config(), expected_.at("config"));
  EXPECT_EQ(checkpoint_->generation_config(), expected_.at("generation_config"));
  EXPECT_EQ(checkpoint_->tokenizer_config(), expected_.at("tokenizer_config"));
  EXPECT_EQ(checkpoint_->chat_template(), expected_.at("chat_template"));
  Crc32 crc;
  for (const char byte : parse_json(checkpoint_->tokenizer_json(), "tokenizer.json").dump()) {
    crc.add(static_cast<uint8_t>(byte));
  }
  EXPECT_EQ(crc.value(), expected_.at("tokenizer_json_crc32"));
}

TEST_F(Smollm2Gguf, HasTheConvertersWeightsBitwise) {
  EXPECT_EQ(checkpoint_->tensor_names().size(), expected_.at("tensors").size());
  for (const auto& [name, value] : expected_.at("tensors").items()) {
    EXPECT_EQ(fingerprint(checkpoint_->read(name)), value) << name;
  }
}

}  // namespace
}  // namespace nibble::io
