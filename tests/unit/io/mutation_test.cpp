#include "support/mutation.h"

#include <nibble/io/checkpoint.h>
#include <nibble/io/gguf.h>
#include <nibble/io/json.h>
#include <nibble/io/safetensors.h>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <cstring>
#include <fstream>

#include "gguf_builder.h"
#include "support/temp_dir.h"
#include "tiny_gguf.h"

// Corruption (corruption_test.cpp) damages every byte once; here damages of several bytes meet.
namespace nibble::io {
namespace {

namespace fs = std::filesystem;
using nibble::testing::MutationTest;
using nibble::testing::refusal_of;
using nibble::testing::survive;
using nibble::testing::TempDir;
using namespace testing;  // GGUF files to damage

const std::vector<std::string> kJsonWords = {"{",
                                             "}",
                                             "[",
                                             "]",
                                             ",",
                                             ":",
                                             "\"",
                                             "null",
                                             "true",
                                             "false",
                                             "[[[[",
                                             "{\"a\":{",
                                             "\\u0000",
                                             "\\ud800",
                                             "\xff",
                                             "\xf0\x9f",
                                             "1e999",
                                             "[]",
                                             "{}",
                                             "\"\"",
                                             "-0",
                                             "\"shape\"",
                                             "\"dtype\"",
                                             "\"F32\"",
                                             "\"data_offsets\"",
                                             "\"__metadata__\"",
                                             "[0,0]"};

unsigned touch(std::span<const std::byte> bytes) {
  unsigned sum = 0;
  for (const std::byte byte : bytes) sum += static_cast<unsigned>(byte);
  return sum;
}

class Mutation : public ::testing::Test {
 protected:
  fs::path write(const std::string& name, const std::string& content) {
    // A new file each time: overwriting one makes some file systems wait for the disk.
    fs::remove(folder_ / name);
    std::ofstream(folder_ / name, std::ios::binary) << content;
    return folder_ / name;
  }

  TempDir folder_;
};

std::string safetensors_bytes(const TempDir& folder) {
  const std::vector<float> values = {1, 2, 3, 4, 5, 6};
  const auto bytes = std::as_bytes(std::span(values));
  write_safetensors(folder / "x.safetensors", {{"model.a", {DType::kF32, {2, 3}, bytes, nullptr}},
                                               {"model.b", {DType::kBF16, {3, 4}, bytes, nullptr}},
                                               {"c", {DType::kI64, {3}, bytes, nullptr}},
                                               {"empty", {DType::kU8, {0, 7}, {}, nullptr}},
                                               {"s", {DType::kBool, {}, bytes.first(1), nullptr}}});
  return read_text_file(folder / "x.safetensors");
}

void read_safetensors(const fs::path& path) {
  const SafetensorsFile file(path);
  for (const std::string& name : file.names()) touch(file.at(name).bytes);
}

TEST_F(Mutation, OfSafetensors) {
  survive({.originals = {safetensors_bytes(folder_)}, .dictionary = kJsonWords, .mutations = 10000},
          [&](const std::string& text) { read_safetensors(write("x.safetensors", text)); });
}

TEST_F(Mutation, OfSafetensorsHeadersOfTheRightLength) {
  const std::string content = safetensors_bytes(folder_);
  uint64_t length = 0;
  std::memcpy(&length, content.data(), sizeof(length));
  const std::string data = content.substr(8 + length);
  survive({.originals = {content.substr(8, length)}, .dictionary = kJsonWords, .mutations = 10000},
          [&](const std::string& header) {
            Bytes file;
            file.number<uint64_t>(header.size()).raw(header).raw(data);
            read_safetensors(write("x.safetensors", file.text()));
          });
}

/// A model whose metadata holds a value of every kind.
GgufBuilder every_kind() {
  GgufBuilder file = tiny_llama();
  file.add("a.u8", kGgufUint8, Bytes().number<uint8_t>(1));
  file.add("a.i8", kGgufInt8, Bytes().number<int8_t>(-1));
  file.add("a.u16", kGgufUint16, Bytes().number<uint16_t>(1));
  file.add("a.i16", kGgufInt16, Bytes().number<int16_t>(-1));
  file.add("a.bool", kGgufBool, Bytes().number<uint8_t>(1));
  file.add("a.u64", kGgufUint64, Bytes().number<uint64_t>(1));
  file.add("a.i64", kGgufInt64, Bytes().number<int64_t>(-1));
  file.add("a.f64", kGgufFloat64, Bytes().number(0.5));
  file.string("tokenizer.chat_template", "{% for m in messages %}{{ m.content }}{% endfor %}");
  // Arrays of numbers, of nothing, and of arrays.
  file.add("a.u8s", kGgufArray,
           Bytes().number(uint32_t{kGgufUint8}).number<uint64_t>(3).raw("abc"));
  file.add("a.none", kGgufArray, Bytes().number(uint32_t{kGgufFloat64}).number<uint64_t>(0));
  Bytes nested;
  nested.number(uint32_t{kGgufArray}).number<uint64_t>(2);
  for (int i = 0; i < 2; ++i) {
    nested.number(uint32_t{kGgufInt16}).number<uint64_t>(2).number<int16_t>(1).number<int16_t>(2);
  }
  file.add("a.nested", kGgufArray, nested);
  return file;
}

TEST_F(Mutation, OfGguf) {
  survive({.originals = {every_kind().build(), tiny_llama("llama-bpe").build()},
           .dictionary = {bytes_of<uint32_t>({kGgufArray}), bytes_of<uint32_t>({kGgufString}),
                          bytes_of<uint64_t>({0}), "llama.block_count", "general.alignment"},
           .mutations = 10000},
          [&](const std::string& text) {
            const fs::path path = write("x.gguf", text);
            const GgufFile file(path);
            for (const std::string& name : file.names()) touch(file.read(name).bytes);
            const auto checkpoint = open_checkpoint(path);
            checkpoint->config();
            checkpoint->chat_template();
            checkpoint->tokenizer_config();
            for (const std::string& name : checkpoint->tensor_names()) {
              touch(checkpoint->read(name).bytes);
            }
            checkpoint->tokenizer_json();
          });
}

TEST_F(Mutation, OfGgufArraysInArrays) {
  // Each level costs 12 bytes of the file.
  Bytes nested;
  for (int level = 0; level < 100000; ++level) {
    nested.number(uint32_t{kGgufArray}).number<uint64_t>(1);
  }
  GgufBuilder file = tiny_llama();
  file.add("a.deep", kGgufArray, nested);
  EXPECT_NE(refusal_of({}, file.build(), "100000 levels",
                       [&](const std::string& text) { GgufFile(write("x.gguf", text)); }),
            "");
}

TEST_F(Mutation, OfJson) {
  const MutationTest test{
      .originals = {R"({"a": [1, 2.5e3, -0, true, null], "b": {"c": "\u00e9\n\ud83d\ude00"}})",
                    "[[1,2],[3,[4,[5]]],{}]"},
      .dictionary = kJsonWords,
      .mutations = 20000};
  const auto parse = [](const std::string& text) {
    parse_json(text, "x.json");
    parse_ordered_json(text, "x.json");
  };
  survive(test, parse);
  for (const char* level : {"[", "{\"a\":", "[[],", "[{\"a\":[0],\"b\":"}) {
    std::string deep;
    while (deep.size() < 1000000) deep += level;
    EXPECT_NE(refusal_of(test, deep, level, parse), "");
  }
}

TEST_F(Mutation, OfTheFilesOfADirectory) {
  write("model-1.safetensors", safetensors_bytes(folder_));
  fs::remove(folder_ / "x.safetensors");
  const std::vector<std::pair<std::string, std::string>> files = {
      {"config.json", R"({"architectures": ["LlamaForCausalLM"], "eos_token_id": [1, 2]})"},
      {"tokenizer.json", R"({"version": "1.0", "model": {"type": "BPE"}})"},
      {"tokenizer_config.json",
       R"({"eos_token": {"content": "</s>", "lstrip": false}, "bos_token": "<s>",
           "added_tokens_decoder": {"1": {"content": "<s>", "special": true}},
           "chat_template": [{"name": "default", "template": "{{ messages }}"},
                             {"name": "tool_use", "template": "{{ tools }}"}]})"},
      {"generation_config.json", R"({"eos_token_id": [1, 2], "temperature": 0.6})"},
      {"model.safetensors.index.json",
       R"({"weight_map": {"model.a": "model-1.safetensors", "model.b": "model-1.safetensors",
           "c": "model-1.safetensors", "s": "model-1.safetensors",
           "empty": "model-1.safetensors"}})"}};
  for (const auto& [name, content] : files) write(name, content);
  for (const auto& [name, content] : files) {
    SCOPED_TRACE(name);
    survive({.originals = {content}, .dictionary = kJsonWords, .mutations = 300},
            [&, &file = name](const std::string& text) {
              write(file, text);
              const auto checkpoint = open_checkpoint(folder_.path());
              checkpoint->config();
              checkpoint->tokenizer_json();
              checkpoint->chat_template();
              checkpoint->tokenizer_config();
              checkpoint->generation_config();
              for (const std::string& tensor : checkpoint->tensor_names()) {
                touch(checkpoint->read(tensor).bytes);
              }
            });
    write(name, content);
  }
}

}  // namespace
}  // namespace nibble::io
