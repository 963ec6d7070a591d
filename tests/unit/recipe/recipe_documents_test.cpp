#include <nibble/train/recipe_parser.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>

namespace nibble::train {
namespace {

const std::filesystem::path kSource = NIBBLE_SOURCE_DIR;

std::string read_text(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  EXPECT_TRUE(stream) << file;
  return {std::istreambuf_iterator<char>(stream), {}};
}

std::string code(const std::string& text) { return "`" + text + "`"; }

/// A cell of a Markdown table: bars between alternatives are escaped.
std::string cell(const std::string& text) {
  std::string result;
  for (const char c : text) {
    result += c == '|' ? "\\|" : std::string(1, c);
  }
  return result;
}

/// The tables of docs/recipe.md, from the keys that the parser knows.
std::string key_tables() {
  std::ostringstream settings;
  std::ostringstream foreign;
  settings << "| key | type | default | meaning |\n|---|---|---|---|\n";
  foreign << "| key | accepted | note |\n|---|---|---|\n";
  for (const KeyDoc& key : recipe_keys()) {
    std::string names = code(key.path);
    for (const std::string& alias : key.aliases) {
      names += "<br>= " + code(alias);
    }
    if (key.is_setting) {
      settings << "| " << names << " | " << cell(key.type) << " | " << code(key.default_value)
               << " | " << cell(key.meaning) << " |\n";
    } else {
      foreign << "| " << names << " | " << cell(key.type) << " | " << cell(key.meaning) << " |\n";
    }
  }
  return "<!-- settings -->\n" + settings.str() + "\n<!-- foreign -->\n" + foreign.str() +
         "<!-- end -->\n";
}

TEST(RecipeDocumentation, HasExactlyTheKeysThatTheParserKnows) {
  const std::filesystem::path file = kSource / "docs/recipe.md";
  const std::string text = read_text(file);
  const size_t start = text.find("<!-- settings -->");
  const std::string end_mark = "<!-- end -->\n";
  const size_t end = text.find(end_mark);
  ASSERT_NE(start, std::string::npos);
  ASSERT_NE(end, std::string::npos);
  const std::string documented = text.substr(start, end + end_mark.size() - start);
  if (std::getenv("NIBBLE_UPDATE_DOCS") != nullptr) {
    std::ofstream(file, std::ios::binary)
        << text.substr(0, start) << key_tables() << text.substr(end + end_mark.size());
    return;
  }
  EXPECT_EQ(documented, key_tables()) << "run this test with NIBBLE_UPDATE_DOCS=1 to rewrite them";
}

TEST(RecipeDocumentation, KeysAreUniqueAndExplained) {
  std::vector<std::string> paths;
  for (const KeyDoc& key : recipe_keys()) {
    EXPECT_FALSE(key.meaning.empty()) << key.path;
    paths.push_back(key.path);
    paths.insert(paths.end(), key.aliases.begin(), key.aliases.end());
  }
  std::sort(paths.begin(), paths.end());
  EXPECT_EQ(std::adjacent_find(paths.begin(), paths.end()), paths.end());
}

TEST(RecipeDocumentation, ItsExamplesParse) {
  std::istringstream text(read_text(kSource / "docs/recipe.md"));
  int examples = 0;
  std::string example;
  bool inside = false;
  for (std::string line; std::getline(text, line);) {
    if (line == "```yaml") {
      inside = true;
      example.clear();
    } else if (inside && line == "```") {
      inside = false;
      ++examples;
      EXPECT_NO_THROW(parse_recipe(example, "docs/recipe.md")) << example;
    } else if (inside) {
      example += line + "\n";
    }
  }
  EXPECT_GE(examples, 2);
}

TEST(Configs, EveryFileParsesAndSurvivesBeingWrittenOut) {
  int files = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(kSource / "configs")) {
    if (entry.path().extension() != ".yaml") {
      continue;
    }
    ++files;
    const Recipe recipe = load_recipe(entry.path()).recipe;
    const std::string yaml = to_yaml(recipe);
    const LoadedRecipe again = parse_recipe(yaml, "config.yaml");
    EXPECT_EQ(to_yaml(again.recipe), yaml) << entry.path();
    EXPECT_EQ(again.recipe.lr_scheduler.has_value(), recipe.lr_scheduler.has_value());
    EXPECT_EQ(again.recipe.validation_datasets.size(), recipe.validation_datasets.size());
  }
  EXPECT_GE(files, 5);
}

TEST(Configs, AutomodelsLlamaSampleKeepsItsMeaning) {
  const Recipe recipe = load_recipe(kSource / "configs/llama3_2_1b_squad_qat.yaml").recipe;
  EXPECT_EQ(recipe.seed, 1111);
  EXPECT_EQ(recipe.step_scheduler.global_batch_size, 64);
  EXPECT_EQ(recipe.step_scheduler.local_batch_size, 8);
  EXPECT_EQ(recipe.step_scheduler.num_epochs, 1);
  EXPECT_EQ(recipe.qat.quantizer.scheme, QatScheme::k8da4w);
  EXPECT_EQ(recipe.qat.quantizer.scales_precision, Dtype::kBFloat16);
  EXPECT_EQ(recipe.qat.delay_fake_quant_steps, 1);
  EXPECT_EQ(recipe.dataset.kind, DatasetKind::kSquad);
  EXPECT_EQ(recipe.optimizer.kind, OptimizerKind::kAdam);
  EXPECT_EQ(recipe.optimizer.lr, 2e-5);
  EXPECT_EQ(recipe.validation_datasets.at("default").limit_dataset_samples, 64);
  EXPECT_FALSE(recipe.lr_scheduler);
}

TEST(ToYaml, KeepsAwkwardText) {
  const std::string yaml =
      "model: {model_name: \"none\"}\n"
      "dataset: {_target_: ChatDataset, path_or_dataset_id: \"a: b # c\", chat_template: "
      "\"x\\n\\t'\\\"$${A}\xc3\xa9\"}\n"
      "clip_grad_norm: {max_norm: null}\n";
  const Recipe recipe = parse_recipe(yaml, "r.yaml").recipe;
  const Recipe again = parse_recipe(to_yaml(recipe), "again.yaml").recipe;
  EXPECT_EQ(recipe.dataset.chat_template, "x\n\t'\"${A}\xc3\xa9");
  EXPECT_EQ(again.dataset.chat_template, recipe.dataset.chat_template);
  EXPECT_EQ(again.model.pretrained_model_name_or_path, "none");
  EXPECT_EQ(again.dataset.path_or_dataset_id, recipe.dataset.path_or_dataset_id);
  EXPECT_FALSE(again.max_grad_norm);
}

}  // namespace
}  // namespace nibble::train
