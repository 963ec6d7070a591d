#pragma once

#include <nibble/train/recipe.h>

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace nibble::train {

/// A valid recipe, and what its author should know about it (deprecated names, keys without
/// effect, QAT switched off), one line each.
struct LoadedRecipe {
  Recipe recipe;
  std::vector<std::string> warnings;
};

/// Reads a YAML recipe (docs/recipe.md). `overrides` are the remaining command-line arguments:
/// `--a.b.c value`, `--a.b.c=value`, or `--flag` for true; they win over the file, the last one
/// over earlier ones.
/// Throws Error that names file, line, key path, value, what is allowed and the nearest valid key.
LoadedRecipe load_recipe(const std::filesystem::path& file,
                         const std::vector<std::string>& overrides = {});

/// The same for text; `name` stands for the file in messages.
LoadedRecipe parse_recipe(std::string_view yaml, const std::string& name,
                          const std::vector<std::string>& overrides = {});

/// The recipe as YAML with canonical keys, every value spelled out. Parsing it gives the same
/// recipe.
std::string to_yaml(const Recipe& recipe);

/// A setting that differs between two recipes, as YAML; "null" where a recipe lacks its section.
struct SettingChange {
  std::string path;
  std::string before, after;
};

/// All of them, in the order of docs/recipe.md.
std::vector<SettingChange> changed_settings(const Recipe& before, const Recipe& after);

/// One key that the parser knows, for documentation.
struct KeyDoc {
  std::string path;           ///< "qat.quantizer.groupsize"
  std::string type;           ///< "integer >= 1", "float32 | bfloat16", ...
  std::string default_value;  ///< as YAML
  std::string meaning;
  std::vector<std::string> aliases;  ///< other accepted paths
  bool is_setting;                   ///< false: another tool's key with at most one meaning here
};

/// Every key, in the order of docs/recipe.md.
std::vector<KeyDoc> recipe_keys();

}  // namespace nibble::train
