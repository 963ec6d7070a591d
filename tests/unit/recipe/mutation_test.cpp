#include "support/mutation.h"

#include <nibble/train/recipe_parser.h>

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "unit/recipe/recipe_text.h"

namespace nibble::train {
namespace {

namespace fs = std::filesystem;
using nibble::testing::MutationTest;
using nibble::testing::refusal_of;
using nibble::testing::survive;

const std::vector<std::string> kWords = {": ",
                                         "- ",
                                         "\n",
                                         "\t",
                                         "&a ",
                                         "*a",
                                         "<<: *a",
                                         "{",
                                         "}",
                                         "[",
                                         "]",
                                         "? ",
                                         "| \n",
                                         ">-\n",
                                         "!!int ",
                                         "!x ",
                                         "---\n",
                                         "...\n",
                                         "%YAML 9\n",
                                         "#",
                                         "'",
                                         "\"",
                                         "\\x00",
                                         "\xff",
                                         "\xef\xbb\xbf",
                                         "\r\n",
                                         "~",
                                         "null",
                                         ".inf",
                                         ".nan",
                                         "1e400",
                                         "0x1F",
                                         "${HOME}",
                                         "qat:",
                                         "  groupsize: -1",
                                         "_target_",
                                         "dataset:",
                                         "  ",
                                         "99999999999999999999",
                                         "[[[[",
                                         "{a: {a: "};

/// A YAML document may be expanded by its aliases, up to a bound of its own.
MutationTest recipe_test() {
  MutationTest test;
  test.base_bytes = size_t{64} << 20;
  test.bytes_per_byte = 1000;
  return test;
}

void parse(const std::string& yaml) { to_yaml(parse_recipe(yaml, "recipe.yaml").recipe); }

TEST(Mutation, OfRecipes) {
  MutationTest test = recipe_test();
  test.originals = {kMinimal};
  for (const auto& entry :
       fs::recursive_directory_iterator(fs::path(NIBBLE_SOURCE_DIR) / "configs")) {
    if (entry.path().extension() == ".yaml") {
      std::ifstream file(entry.path(), std::ios::binary);
      test.originals.emplace_back(std::istreambuf_iterator<char>(file),
                                  std::istreambuf_iterator<char>());
    }
  }
  test.dictionary = kWords;
  test.mutations = 2000;
  survive(test, parse);
}

TEST(Mutation, OfOverrides) {
  MutationTest test = recipe_test();
  test.originals = {"--optimizer.lr=1e-4", "--qat.enabled", "--qat.quantizer.groupsize=64",
                    "--dataset.column_mapping={question: [a, b], answer: c}",
                    "--step_scheduler.max_steps=none"};
  test.dictionary = kWords;
  test.mutations = 3000;
  const std::string recipe =
      "model: {model_name: m}\ndataset:\n  path_or_dataset_id: rows.jsonl\n"
      "  column_mapping: {question: a, answer: b}\n";
  survive(test,
          [&](const std::string& override) { parse_recipe(recipe, "recipe.yaml", {override}); });
}

TEST(Mutation, OfNestedOverrides) {
  std::string key = "--qat";
  for (int level = 0; level < 100000; ++level) key += ".a";
  const auto refusal = refusal_of(recipe_test(), key, "100000 levels", [](const std::string& text) {
    parse_recipe(kMinimal, "recipe.yaml", {text + "=1"});
  });
  EXPECT_NE(refusal.find("levels deep"), std::string::npos) << refusal.substr(0, 200);
}

TEST(Mutation, OfNestedRecipes) {
  const MutationTest test = recipe_test();
  for (const std::string level : {"[", "{", "{a: ", "- ", "? ", "a:\n ", "[[],", "!!seq [", "&a [",
                                  "'", "\"", "|", "\n ", "- - ", "a: &a\n  b: *a\n"}) {
    for (const size_t size : {size_t{200}, size_t{5000}, size_t{300000}}) {
      std::string deep;
      while (deep.size() < size) deep += level;
      refusal_of(test, deep, level, parse);
      refusal_of(test, kMinimal + "qat: " + deep, "qat: " + level, parse);
    }
  }
  std::string indented = kMinimal;
  for (int level = 0; level < 2000; ++level) {
    indented += std::string(static_cast<size_t>(level), ' ') + "a:\n";
  }
  EXPECT_NE(refusal_of(test, indented, "2000 indented levels", parse), "");
}

TEST(Mutation, OfAliases) {
  const MutationTest test = recipe_test();
  const auto name = [](int i) { return std::string("a").append(std::to_string(i)); };
  std::string laughs = kMinimal + "a0: &a0 [x, x]\n";
  for (int i = 1; i < 40; ++i) {
    laughs += name(i) + ": &" + name(i) + " [*" + name(i - 1) + ", *" + name(i - 1) + "]\n";
  }
  EXPECT_NE(refusal_of(test, laughs, "aliases of aliases", parse), "");
  EXPECT_NE(refusal_of(test, kMinimal + "qat: &a [*a]\n", "an alias of itself", parse), "");
  EXPECT_NE(refusal_of(test, kMinimal + "qat: &a {<<: *a}\n", "merged into itself", parse), "");
}

}  // namespace
}  // namespace nibble::train
