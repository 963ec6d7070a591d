#include <nibble/core/error.h>
#include <nibble/io/gguf.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "gguf_builder.h"
#include "reference_data.h"
#include "support/temp_dir.h"

namespace nibble::io {
namespace {

using nibble::testing::TempDir;
using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;
using namespace testing;

constexpr uint32_t kF32 = 0, kF16 = 1, kQ4_0 = 2, kQ2_K = 10, kBF16 = 30;

class Gguf : public ::testing::Test {
 protected:
  GgufFile open(const std::string& content) {
    write_file_atomically(path_, content);
    return GgufFile(path_);
  }
  void expect_refused(const std::string& content, const std::string& message) {
    EXPECT_THAT([&] { open(content); }, ThrowsMessage<Error>(HasSubstr(message)));
  }
  void expect_refused(const GgufBuilder& builder, const std::string& message) {
    expect_refused(builder.build(), message);
  }

  TempDir folder_;
  std::filesystem::path path_ = folder_ / "x.gguf";
};

TEST_F(Gguf, ReadsMetadataOfEveryType) {
  GgufBuilder builder;
  builder.add("u8", kGgufUint8, Bytes().number<uint8_t>(255));
  builder.add("i8", kGgufInt8, Bytes().number<int8_t>(-128));
  builder.add("u16", kGgufUint16, Bytes().number<uint16_t>(65535));
  builder.add("i16", kGgufInt16, Bytes().number<int16_t>(-32768));
  builder.add("u32", kGgufUint32, Bytes().number<uint32_t>(4294967295));
  builder.add("i32", kGgufInt32, Bytes().number<int32_t>(-5));
  builder.add("u64", kGgufUint64, Bytes().number<uint64_t>(~uint64_t{0}));
  builder.add("i64", kGgufInt64, Bytes().number<int64_t>(-6));
  builder.add("f32", kGgufFloat32, Bytes().number(0.1f));
  builder.add("f64", kGgufFloat64, Bytes().number(0.1));
  builder.add("yes", kGgufBool, Bytes().number<uint8_t>(1));
  builder.string("text", std::string_view("a\0b", 3));
  builder.strings("texts", {"x", ""});
  builder.int32s("none", {});
  const json expected = {{"u8", 255},
                         {"i8", -128},
                         {"u16", 65535},
                         {"i16", -32768},
                         {"u32", 4294967295u},
                         {"i32", -5},
                         {"u64", ~uint64_t{0}},
                         {"i64", -6},
                         {"f32", static_cast<double>(0.1f)},
                         {"f64", 0.1},
                         {"yes", true},
                         {"text", std::string("a\0b", 3)},
                         {"texts", {"x", ""}},
                         {"none", json::array()}};
  EXPECT_EQ(open(builder.build()).metadata(), expected);
  builder.version = 2;
  EXPECT_EQ(open(builder.build()).metadata(), expected);
}

TEST_F(Gguf, NestedArraysStayNested) {
  Bytes inner;
  inner.number(uint32_t{kGgufUint8}).number(uint64_t{2}).number<uint8_t>(1).number<uint8_t>(2);
  Bytes outer;
  outer.number(uint32_t{kGgufArray}).number(uint64_t{2}).raw(inner.text()).raw(inner.text());
  EXPECT_EQ(open(GgufBuilder().add("a", kGgufArray, outer).build()).metadata().at("a"),
            json::parse("[[1,2],[1,2]]"));
}

TEST_F(Gguf, NestingIsBounded) {
  Bytes nested;
  for (int i = 0; i < 100000; ++i) nested.number(uint32_t{kGgufArray}).number(uint64_t{1});
  expect_refused(GgufBuilder().add("a", kGgufArray, nested), "nests arrays deeper");
}

TEST_F(Gguf, ReadsTensorsOutermostDimensionFirst) {
  const std::string f32 = bytes_of<float>({1, 2, 3, 4, 5, 6});
  const std::string halves = bytes_of<uint16_t>({0x3c00, 0xc000});
  const GgufFile file =
      open(GgufBuilder()
               .tensor("a", {3, 2}, kF32, f32)
               .tensor("b", {2}, kF16, halves)
               .tensor("c", {}, kBF16, halves.substr(0, 2))
               .tensor("d", {32, 1}, kQ4_0, std::string("\0\x3c", 2) + std::string(16, '\x19'))
               .build());
  EXPECT_THAT(file.names(), ElementsAre("a", "b", "c", "d"));
  EXPECT_THAT(file.read("a").shape, ElementsAre(2, 3));
  EXPECT_EQ(to_string(file.read("a").bytes), f32);
  EXPECT_EQ(file.read("b").dtype, DType::kF16);
  EXPECT_EQ(to_string(file.read("b").bytes), halves);
  EXPECT_EQ(file.read("c").dtype, DType::kBF16);
  EXPECT_EQ(file.read("c").numel(), 1);
  // Scale 1, codes 9 (low nibbles, first) and 1, offset 8.
  std::vector<float> expected(16, 1.0f);
  expected.resize(32, -7.0f);
  EXPECT_EQ(to_string(file.read("d").bytes), bytes_of(expected));
  EXPECT_THROW(file.read("e"), Error);
}

TEST_F(Gguf, HonoursTheAlignmentOfTheFile) {
  const std::string data = bytes_of<float>({1.0f});
  GgufBuilder builder;
  builder.alignment = 1;
  builder.uint32("general.alignment", 1).tensor("odd", {1}, kF32, data);
  const TensorData tensor = open(builder.build()).read("odd");
  EXPECT_EQ(to_string(tensor.bytes), data);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(tensor.bytes.data()) % sizeof(float), 0u);
}

TEST_F(Gguf, RefusesOtherFiles) {
  expect_refused("", "not a GGUF file");
  expect_refused("GGU", "not a GGUF file");
  expect_refused("GGMLxxxxxxxxxxxxxxxxxxxxxxx", "not a GGUF file");
  GgufBuilder builder;
  for (const uint32_t version : {0u, 1u, 4u}) {
    builder.version = version;
    expect_refused(builder, "version " + std::to_string(version) + " is not supported");
  }
  builder.version = 0x03000000;
  expect_refused(builder, "big-endian");
}

TEST_F(Gguf, RefusesCountsThatTheFileCannotHold) {
  GgufBuilder builder;
  builder.tensors = uint64_t{1} << 63;
  expect_refused(builder, "the number of tensors is 9223372036854775808");
  builder.tensors = 0;
  builder.pairs = ~uint64_t{0};
  expect_refused(builder, "the number of metadata entries");
  const Bytes long_string = Bytes().number(~uint64_t{0});
  expect_refused(GgufBuilder().add("s", kGgufString, long_string), "truncated");
  const Bytes long_array = Bytes().number(uint32_t{kGgufUint64}).number(uint64_t{1} << 61);
  expect_refused(GgufBuilder().add("a", kGgufArray, long_array), "the length of array \"a\"");
}

TEST_F(Gguf, RefusesBadMetadata) {
  expect_refused(GgufBuilder().uint32("k", 1).uint32("k", 1), "\"k\" stands twice");
  expect_refused(GgufBuilder().add("k", 13, Bytes()), "unknown value type 13");
  expect_refused(GgufBuilder().add("k", kGgufBool, Bytes().number<uint8_t>(2)), "bool of value 2");
  for (const uint32_t alignment : {0u, 3u, 48u}) {
    expect_refused(GgufBuilder().uint32("general.alignment", alignment), "power of two");
  }
  expect_refused(GgufBuilder().string("general.alignment", "32"), "power of two");
  GgufBuilder huge;
  huge.add("general.alignment", kGgufUint64, Bytes().number(uint64_t{1} << 63));
  expect_refused(huge.tensor("t", {1}, kF32, "1234"), "the padding");
}

TEST_F(Gguf, RefusesBadTensors) {
  const uint64_t big = uint64_t{1} << 32;
  const auto one = [](const std::vector<uint64_t>& dimensions, uint32_t type, uint64_t offset = 0) {
    return GgufBuilder().tensor_at("t", dimensions, type, offset, std::string(64, '\0'));
  };
  expect_refused(one({1}, kQ2_K), "type Q2_K is not supported");
  expect_refused(one({1}, 1000), "type number 1000 is not supported");
  expect_refused(one({1, 1, 1, 1, 1}, kF32), "5 dimensions");
  expect_refused(one({big, big}, kF32), "overflows");
  expect_refused(one({big, big / 4}, kF32), "overflows");
  expect_refused(one({uint64_t{1} << 63}, kF32), "a dimension of 9223372036854775808");
  expect_refused(one({0, uint64_t{1} << 62}, kF32), "a dimension of 0");
  expect_refused(one({33}, kQ4_0), "do not divide into Q4_0 blocks of 32");
  expect_refused(one({17}, kF32), "truncated");
  expect_refused(one({1}, kF32, 33), "not aligned");
  expect_refused(one({1}, kF32, 96), "truncated");
  expect_refused(one({1}, kF32, ~uint64_t{0} - 31), "truncated");
  expect_refused(one({1}, kF32).tensor_at("t", {1}, kF32, 32, ""), "two tensors are named \"t\"");
  expect_refused(one({9}, kF32).tensor_at("u", {1}, kF32, 32, ""), "\"t\" and \"u\" overlap");
}

}  // namespace
}  // namespace nibble::io
