#include <nibble/io/ggml_types.h>

#include <gtest/gtest.h>

#include <vector>

#include "reference_data.h"

namespace nibble::io {
namespace {

using testing::from_hex;
using testing::reference;
using testing::to_string;

TEST(GgmlTypes, DequantizeAsTheGgufPackageDoesBitwise) {
  for (const auto& entry : reference("ggml_blocks.json")) {
    const GgmlType* type = find_ggml_type(entry["id"].get<uint32_t>());
    ASSERT_NE(type, nullptr) << entry["type"];
    EXPECT_EQ(type->name, entry["type"].get<std::string>());
    const std::string blocks = from_hex(entry["blocks"]);
    const auto count = static_cast<int64_t>(blocks.size()) / type->block_bytes;
    ASSERT_EQ(count * type->block_bytes, static_cast<int64_t>(blocks.size()));
    std::vector<float> values(static_cast<size_t>(count * type->block_elements));
    type->dequantize(std::as_bytes(std::span(blocks)).data(), count, values.data());
    EXPECT_EQ(to_string(std::as_bytes(std::span(values))), from_hex(entry["float32"]))
        << type->name;
  }
}

TEST(GgmlTypes, NamesTypesThatAreNotSupported) {
  EXPECT_EQ(find_ggml_type(10), nullptr);
  EXPECT_EQ(ggml_type_name(10), "Q2_K");
  EXPECT_EQ(find_ggml_type(4), nullptr);
  EXPECT_EQ(ggml_type_name(4), "number 4");
  EXPECT_EQ(ggml_type_name(0xffffffff), "number 4294967295");
  EXPECT_EQ(supported_ggml_types(),
            "F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K, Q6_K");
}

}  // namespace
}  // namespace nibble::io
