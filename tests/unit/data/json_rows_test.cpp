#include <nibble/core/error.h>
#include <nibble/data/json_rows.h>
#include <nibble/io/file.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "support/temp_dir.h"

namespace nibble::data {
namespace {

using nibble::testing::TempDir;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

class JsonRows : public ::testing::Test {
 protected:
  std::filesystem::path write(const std::string& name, const std::string& content) {
    io::write_file_atomically(folder_ / name, content);
    return folder_ / name;
  }
  /// Ten rows {"n": 0..9}.
  std::filesystem::path write_ten(const std::string& name) {
    std::string text;
    for (int i = 0; i < 10; ++i) {
      text += "{\"n\": " + std::to_string(i) + "}\n";
    }
    return write(name, text);
  }
  static std::vector<int> numbers(const RowSelection& selection) {
    std::vector<int> found;
    for (const JsonRow& row : select_json_rows(selection)) {
      found.push_back(row.value["n"].get<int>());
    }
    return found;
  }

  TempDir folder_;
};

TEST_F(JsonRows, ReadsLinesWithTheirNumbers) {
  const auto file = write("a.jsonl", "\xef\xbb\xbf{\"n\": 1}\r\n\n  \n{\"n\": 2}");
  const std::vector<JsonRow> rows = read_json_rows(file);
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].origin, file.string() + ":1");
  EXPECT_EQ(rows[1].origin, file.string() + ":4");
  EXPECT_EQ(rows[1].value["n"], 2);
}

TEST_F(JsonRows, ReadsArraysAndSingleObjects) {
  const auto array = write("a.json", "[{\"n\": 1},\n {\"n\": 2}]");
  EXPECT_EQ(read_json_rows(array)[1].origin, array.string() + "[1]");
  EXPECT_EQ(read_json_rows(write("b.json", "{\"n\": 3}")).size(), 1u);
}

TEST_F(JsonRows, NamesFileAndLineOfMalformedRows) {
  const auto broken = write("a.jsonl", "{\"n\": 1}\n{\"n\": }\n");
  EXPECT_THAT(error_of([&] { read_json_rows(broken); }),
              HasSubstr(broken.string() + ":2:7: not valid JSON"));
  const auto list = write("b.jsonl", "{\"n\": 1}\n\n[1]\n");
  EXPECT_THAT(error_of([&] { read_json_rows(list); }),
              AllOf(HasSubstr(list.string() + ":3"), HasSubstr("array")));
  const auto cut = write("c.json", "[{\"n\": 1}");
  EXPECT_THAT(error_of([&] { read_json_rows(cut); }), HasSubstr(cut.string() + ":1"));
  const auto number = write("d.json", "7");
  EXPECT_THAT(error_of([&] { read_json_rows(number); }), HasSubstr("number"));
}

TEST_F(JsonRows, AFileWithOneArrayIsNamedJson) {
  for (const char* text : {"[{\"n\": 1}, {\"n\": 2}]\n", "[\n {\"n\": 1}\n]", "[]"}) {
    const auto file = write("a.jsonl", text);
    EXPECT_THAT(error_of([&] { read_json_rows(file); }),
                AllOf(HasSubstr(file.string() + ":1: "), HasSubstr("named .json")));
  }
}

TEST_F(JsonRows, KeepsMalformedRowsWithTheirProblem) {
  const auto file = write("a.jsonl", "{\"n\": 1}\n{bad\n7\n{\"n\": 2}\n");
  const auto rows = read_json_rows(file, MalformedRows::kKept);
  ASSERT_EQ(rows.size(), 4u);
  EXPECT_EQ(rows[0].problem, "");
  EXPECT_THAT(rows[1].problem, HasSubstr(file.string() + ":2:2: not valid JSON"));
  EXPECT_THAT(rows[2].problem, HasSubstr(file.string() + ":3: a row is a JSON object"));
  EXPECT_EQ(rows[3].value["n"], 2);
}

TEST_F(JsonRows, RefusesEmptyAndMissingDatasets) {
  const auto empty = write("a.jsonl", "\n\n");
  EXPECT_THAT(error_of([&] { select_json_rows({.paths = {empty}}); }), HasSubstr("is empty"));
  EXPECT_THAT(error_of([&] { select_json_rows({.paths = {"rajpurkar/squad"}}); }),
              AllOf(HasSubstr("rajpurkar/squad"), HasSubstr("local JSON")));
  EXPECT_THAT(error_of([&] { select_json_rows({}); }), HasSubstr("at least one file"));
}

TEST_F(JsonRows, AppliesSplitRanges) {
  const auto file = write_ten("a.jsonl");
  const auto pick = [&](const std::string& split) {
    return numbers({.paths = {file}, .split = split});
  };
  EXPECT_EQ(pick("train").size(), 10u);
  EXPECT_THAT(pick("train[:3]"), ElementsAre(0, 1, 2));
  EXPECT_THAT(pick("validation[7:]"), ElementsAre(7, 8, 9));
  EXPECT_THAT(pick("train[2:4]"), ElementsAre(2, 3));
  EXPECT_THAT(pick("train[-2:]"), ElementsAre(8, 9));
  EXPECT_THAT(pick("train[:-7]"), ElementsAre(0, 1, 2));
  EXPECT_THAT(pick("train[:20%]"), ElementsAre(0, 1));
  EXPECT_THAT(pick("train[-10%:]"), ElementsAre(9));
  EXPECT_THAT(pick("train[8:99]"), ElementsAre(8, 9));
  EXPECT_THAT(error_of([&] { pick("train[4:4]"); }), HasSubstr("selects none of the 10 rows"));
  EXPECT_THAT(error_of([&] { pick("train[4"); }), HasSubstr("train[:64]"));
}

TEST_F(JsonRows, LimitsAfterTheRange) {
  const auto file = write_ten("a.jsonl");
  EXPECT_THAT(numbers({.paths = {file}, .split = "train[5:]", .limit = 2}), ElementsAre(5, 6));
  EXPECT_EQ(numbers({.paths = {file}, .limit = 99}).size(), 10u);
  EXPECT_THAT(error_of([&] { numbers({.paths = {file}, .limit = 0}); }), HasSubstr("1 and more"));
}

TEST_F(JsonRows, ShufflesBeforeTheRange) {
  const auto file = write_ten("a.jsonl");
  const std::vector<int> all = numbers({.paths = {file}, .shuffle_seed = 5});
  EXPECT_THAT(all, ::testing::UnorderedElementsAre(0, 1, 2, 3, 4, 5, 6, 7, 8, 9));
  EXPECT_FALSE(std::is_sorted(all.begin(), all.end()));
  EXPECT_THAT(numbers({.paths = {file}, .split = "train[:2]", .shuffle_seed = 5}),
              ElementsAre(all[0], all[1]));
}

TEST_F(JsonRows, JoinsFilesInOrder) {
  const auto first = write("b.jsonl", "{\"n\": 100}\n");
  const auto second = write("a.jsonl", "{\"n\": 200}\n");
  EXPECT_THAT(numbers({.paths = {first, second}}), ElementsAre(100, 200));
}

TEST_F(JsonRows, FindsTheSplitsFileInAFolder) {
  write("alpaca_train.jsonl", "{\"n\": 1}\n");
  write("alpaca_validation.jsonl", "{\"n\": 2}\n");
  write("test.json", "[{\"n\": 3}]");
  write("squad_test.jsonl", "{\"n\": 4}\n");
  write("README.md", "no dataset");
  EXPECT_THAT(numbers({.paths = {folder_.path()}, .split = "validation[:1]"}), ElementsAre(2));
  EXPECT_THAT(numbers({.paths = {folder_.path()}, .split = "test"}), ElementsAre(3));
  EXPECT_THAT(error_of([&] { numbers({.paths = {folder_.path()}, .split = "dev"}); }),
              AllOf(HasSubstr("no file for the split \"dev\""), HasSubstr("alpaca_train.jsonl")));
  write("gsm8k_train.jsonl", "{\"n\": 5}\n");
  EXPECT_THAT(error_of([&] { numbers({.paths = {folder_.path()}}); }), HasSubstr("more than one"));
}

}  // namespace
}  // namespace nibble::data
