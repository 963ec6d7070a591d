#include <nibble/core/error.h>
#include <nibble/io/file.h>
#include <nibble/io/json.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "support/temp_dir.h"

namespace nibble::io {
namespace {

using nibble::testing::TempDir;
using ::testing::HasSubstr;
using ::testing::StartsWith;
using ::testing::ThrowsMessage;

TEST(Json, WhatIsWrittenIsReadBack) {
  const TempDir folder;
  const nlohmann::json value = {{"a", {1, 2.5, nullptr}}, {"b", "\u00e9\n"}};
  write_json_file(folder / "x.json", value);
  EXPECT_EQ(read_json_file(folder / "x.json"), value);
}

TEST(Json, SyntaxErrorsNameFileLineAndColumn) {
  const TempDir folder;
  write_file_atomically(folder / "x.json", "{\n  \"a\": 1,\n  b\n}");
  EXPECT_THAT(
      [&] { read_json_file(folder / "x.json"); },
      ThrowsMessage<Error>(StartsWith((folder / "x.json").string() + ":3:3: not valid JSON")));
  EXPECT_THAT([] { parse_json("[1,", "t"); }, ThrowsMessage<Error>(StartsWith("t:1:4: ")));
  EXPECT_THAT([] { parse_json("", "t"); }, ThrowsMessage<Error>(StartsWith("t:1:1: ")));
}

TEST(Json, LongTokensAreCutInMessages) {
  try {
    parse_json("\"" + std::string(100000, 'x'), "t");
    FAIL();
  } catch (const Error& error) {
    EXPECT_LT(std::string(error.what()).size(), 300u);
  }
}

TEST(Json, RefusesWhatJsonLeavesOpen) {
  EXPECT_THAT([] { parse_json(R"({"a":1,"b":{"a":2},"a":3})", "t"); },
              ThrowsMessage<Error>(HasSubstr("\"a\" stands twice")));
  EXPECT_NO_THROW(parse_json(R"([{"a":1},{"a":2,"b":{"a":1}}])", "t"));
  EXPECT_THROW(parse_json("\"\xff\"", "t"), Error);
  EXPECT_THROW(parse_json("1e999", "t"), Error);
  EXPECT_THROW(parse_json("NaN", "t"), Error);
}

TEST(Json, NestingIsBounded) {
  const auto nested = [](int depth) { return std::string(depth, '[') + std::string(depth, ']'); };
  EXPECT_NO_THROW(parse_json(nested(kMaxJsonDepth), "t"));
  EXPECT_THAT([&] { parse_json(nested(kMaxJsonDepth + 1), "t"); },
              ThrowsMessage<Error>(HasSubstr("nested deeper")));
  EXPECT_THROW(parse_json(nested(1000000), "t"), Error);
}

TEST(Json, StringsThatAreNotUtf8CannotBeWritten) {
  EXPECT_THAT([] { dump_json(nlohmann::json("\xff"), "t"); },
              ThrowsMessage<Error>(StartsWith("t: ")));
}

}  // namespace
}  // namespace nibble::io
