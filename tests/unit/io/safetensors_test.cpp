#include <nibble/core/error.h>
#include <nibble/io/safetensors.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "reference_data.h"
#include "support/temp_dir.h"

namespace nibble::io {
namespace {

using nibble::testing::TempDir;
using ::testing::ElementsAre;
using testing::from_hex;
using ::testing::HasSubstr;
using testing::reference;
using ::testing::ThrowsMessage;
using testing::to_string;

/// A file of this header and this many bytes of data.
std::string file_of(const std::string& header, size_t data_bytes) {
  const uint64_t length = header.size();
  std::string file(reinterpret_cast<const char*>(&length), sizeof(length));
  return file + header + std::string(data_bytes, '\1');
}

class Safetensors : public ::testing::Test {
 protected:
  SafetensorsFile open(const std::string& content) {
    write_file_atomically(path_, content);
    return SafetensorsFile(path_);
  }
  void expect_refused(const std::string& content, const std::string& message) {
    EXPECT_THAT([&] { open(content); }, ThrowsMessage<Error>(HasSubstr(message))) << content;
  }

  TempDir folder_;
  std::filesystem::path path_ = folder_ / "x.safetensors";
};

TEST_F(Safetensors, ReadsAndWritesTheReferenceImplementationsBytes) {
  const std::string expected = from_hex(reference("safetensors_bytes.json")["bytes"]);
  const SafetensorsFile file = open(expected);
  EXPECT_THAT(file.names(), ElementsAre("a", "c.weight", "b", "empty", "scalar", "flag"));
  EXPECT_EQ(file.metadata().at("format"), "pt");
  EXPECT_THAT(file.at("a").shape, ElementsAre(1, 3));
  EXPECT_EQ(file.at("b").dtype, DType::kBF16);
  EXPECT_THAT(file.at("empty").shape, ElementsAre(0, 4));
  EXPECT_TRUE(file.at("scalar").shape.empty());
  EXPECT_EQ(to_string(file.at("scalar").bytes), "\7");

  std::vector<NamedTensor> tensors;
  for (const std::string& name : file.names())
    tensors.insert(tensors.begin(), {name, file.at(name)});
  write_safetensors(folder_ / "y.safetensors", tensors);
  EXPECT_EQ(read_text_file(folder_ / "y.safetensors"), expected);
}

TEST_F(Safetensors, TensorsOutliveTheFileObject) {
  const TensorData tensor =
      open(file_of(R"({"w":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}})", 2)).at("w");
  EXPECT_EQ(to_string(tensor.bytes), "\1\1");
}

TEST_F(Safetensors, MisalignedTensorsAreAligned) {
  const SafetensorsFile file =
      open(file_of(R"({"a":{"dtype":"I8","shape":[1],"data_offsets":[0,1]},)"
                   R"("b":{"dtype":"F32","shape":[1],"data_offsets":[1,5]}})",
                   5));
  const TensorData& tensor = file.at("b");
  EXPECT_EQ(reinterpret_cast<uintptr_t>(tensor.bytes.data()) % 4, 0u);
  EXPECT_EQ(to_string(tensor.bytes), "\1\1\1\1");
}

TEST_F(Safetensors, RefusesBadHeaders) {
  expect_refused("", "0 bytes");
  expect_refused("1234567", "7 bytes");
  expect_refused(std::string(8, '\xff') + "{}", "at most 100000000");
  expect_refused(std::string("\x20\0\0\0\0\0\0\0{}", 10), "truncated");
  expect_refused(file_of("[]", 0), "no JSON header");
  expect_refused(file_of("{", 0), "not valid JSON");
  expect_refused(file_of(R"({"__metadata__":{"a":1}})", 0), "__metadata__");
  expect_refused(file_of(R"({"a":{},"a":{}})", 0), "stands twice");
  expect_refused(file_of("{}", 1), "1 bytes behind");
}

TEST_F(Safetensors, RefusesBadTensors) {
  const auto refuse = [&](const std::string& tensor, const std::string& message) {
    expect_refused(file_of(R"({"w":)" + tensor + "}", 8), message);
  };
  refuse("1", "not an object");
  refuse(R"({"shape":[8],"data_offsets":[0,8]})", "\"dtype\" is missing");
  refuse(R"({"dtype":"F8_E4M3","shape":[8],"data_offsets":[0,8]})", "\"F8_E4M3\" is not supported");
  refuse(R"({"dtype":"U8","data_offsets":[0,8]})", "\"shape\" is missing");
  refuse(R"({"dtype":"U8","shape":8,"data_offsets":[0,8]})", "shape is not an array");
  refuse(R"({"dtype":"U8","shape":[-8],"data_offsets":[0,8]})", "not a non-negative integer");
  refuse(R"({"dtype":"U8","shape":[8.0],"data_offsets":[0,8]})", "not a non-negative integer");
  refuse(R"({"dtype":"U8","shape":[9223372036854775808],"data_offsets":[0,8]})", "too large");
  refuse(R"({"dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,0]})", "overflows");
  refuse(R"({"dtype":"I64","shape":[2305843009213693952],"data_offsets":[0,0]})", "overflows");
  refuse(R"({"dtype":"U8","shape":[8]})", "\"data_offsets\" is missing");
  refuse(R"({"dtype":"U8","shape":[8],"data_offsets":[0]})", "two numbers");
  refuse(R"({"dtype":"U8","shape":[8],"data_offsets":[8,0]})", "do not hold");
  refuse(R"({"dtype":"U8","shape":[8],"data_offsets":[0,7]})", "do not hold");
  refuse(R"({"dtype":"U8","shape":[16],"data_offsets":[0,16]})", "truncated");
  refuse(R"({"dtype":"U8","shape":[4],"data_offsets":[4,8]})", "begins at offset 4");
  refuse(R"({"dtype":"U8","shape":[4],"data_offsets":[0,4]})", "4 bytes behind");
}

TEST_F(Safetensors, RefusesOverlapsAndHoles) {
  const auto two = [](const std::string& a, const std::string& b) {
    return file_of(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":)" + a +
                       R"(},"b":{"dtype":"U8","shape":[4],"data_offsets":)" + b + "}}",
                   8);
  };
  EXPECT_THAT(open(two("[4,8]", "[0,4]")).names(), ElementsAre("b", "a"));
  expect_refused(two("[0,4]", "[3,7]"), "begins at offset 3");
  expect_refused(two("[0,4]", "[0,4]"), "begins at offset 0");
  expect_refused(two("[0,4]", "[5,9]"), "begins at offset 5");
}

TEST_F(Safetensors, UnknownNamesAreErrors) {
  EXPECT_THAT([&] { open(file_of("{}", 0)).at("w"); }, ThrowsMessage<Error>(HasSubstr("\"w\"")));
}

TEST_F(Safetensors, WritesNothingThatCannotBeRead) {
  const std::vector<float> values(4);
  const TensorData good{DType::kF32, {2, 2}, std::as_bytes(std::span(values)), nullptr};
  TensorData short_one = good;
  short_one.bytes = short_one.bytes.first(12);
  TensorData negative = good;
  negative.shape = {-2, -2};
  EXPECT_THROW(write_safetensors(path_, {{"w", good}, {"w", good}}), Error);
  EXPECT_THROW(write_safetensors(path_, {{"__metadata__", good}}), Error);
  EXPECT_THROW(write_safetensors(path_, {{"w", short_one}}), Error);
  EXPECT_THROW(write_safetensors(path_, {{"w", negative}}), Error);
  EXPECT_THROW(write_safetensors(path_, {{"\xff", good}}), Error);
  EXPECT_FALSE(std::filesystem::exists(path_));
}

}  // namespace
}  // namespace nibble::io
