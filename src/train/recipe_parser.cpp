#include <nibble/core/error.h>
#include <nibble/train/recipe_parser.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <map>
#include <sstream>
#include <utility>

#include "key_index.h"
#include "recipe_checks.h"
#include "recipe_keys.h"
#include "recipe_overrides.h"
#include "recipe_value.h"
#include "yaml_node.h"

namespace nibble::train {
namespace {

/// A key that the file or the command line sets, under the name used there.
struct Assignment {
  const Key* key;
  std::string path;
  const YamlNode* node;

  bool names_target() const { return last_component(key->path) == "_target_"; }
};

/// Has every optional section, so that all keys can be found and suggested.
Recipe complete_recipe() {
  Recipe recipe;
  recipe.lr_scheduler.emplace();
  recipe.validation_datasets["default"];
  return recipe;
}

/// With defaults everywhere and the optional sections that `root` names, empty ones too.
Recipe recipe_for(const YamlNode& root) {
  Recipe recipe = complete_recipe();
  for (const YamlNode& section : root.children) {
    if (is_validation_dataset(section.key)) {
      recipe.validation_datasets[validation_dataset_name(section.key)];
    }
  }
  return recipe;
}

/// Removes the optional sections that `root` leaves out or empty.
void drop_absent_sections(Recipe& recipe, const YamlNode& root) {
  const auto is_absent = [&](const std::string& name) {
    const YamlNode* section = root.find(name);
    return section == nullptr || section->is_null();
  };
  if (is_absent("lr_scheduler")) {
    recipe.lr_scheduler.reset();
  }
  std::erase_if(recipe.validation_datasets, [&](const auto& entry) {
    return is_absent(validation_dataset_section(entry.first));
  });
}

/// Finds the key of every entry of the tree.
class AssignmentCollector {
 public:
  AssignmentCollector(const KeyIndex& index, std::vector<std::string>& warnings)
      : index_(index), warnings_(warnings) {}

  std::vector<Assignment> collect(const YamlNode& root) {
    collect_section(root, "");
    return std::move(assignments_);
  }

 private:
  void collect_section(const YamlNode& section, const std::string& section_path) {
    const YamlNode* empty_section = nullptr;
    for (const YamlNode& child : section.children) {
      NIBBLE_CHECK(child.key.find('.') == std::string::npos, child.where, ": '", child.key,
                   "' has a dot: write one key below the other (dots are for the command line)");
      const std::string path = child_path(section_path, child.key);
      if (const Key* key = index_.find(path)) {
        assignments_.push_back({key, path, &child});
      } else if (!index_.is_section(path)) {
        report_unknown(path, child, empty_section);
      } else if (child.is_null()) {
        empty_section = &child;
      } else {
        NIBBLE_CHECK(child.is_map(), child.where, ": ", path,
                     " is a section: expected keys below it, got ", child.describe());
        collect_section(child, path);
      }
    }
  }

  void report_unknown(const std::string& path, const YamlNode& node,
                      const YamlNode* empty_section) {
    const std::string hint = index_.suggest(path, empty_section);
    const bool is_section = path.find('.') == std::string::npos;
    if (is_section && hint.empty() && !node.where.starts_with(kCommandLine)) {
      warnings_.push_back(node.where + ": the section '" + path + "' is unknown and ignored");
      return;
    }
    fail(node.where, ": unknown key '", path, "' (value: ", node.describe(), ")",
         hint.empty() ? "" : "; ", hint);
  }

  const KeyIndex& index_;
  std::vector<std::string>& warnings_;
  std::vector<Assignment> assignments_;
};

/// Defaults that follow from the class names under `_target_`.
void apply_target_defaults(Recipe& recipe, const std::vector<Assignment>& assignments) {
  QuantizerRecipe& quantizer = recipe.qat.quantizer;
  if (quantizer.scheme == QatScheme::k4w) {
    quantizer.grid = QatGrid::kAsymmetric;
  }
  const bool is_torchao =
      std::any_of(assignments.begin(), assignments.end(), [](const Assignment& assignment) {
        return assignment.path == "qat.quantizer._target_" &&
               assignment.node->text.starts_with("torchao.");
      });
  if (is_torchao && quantizer.scheme == QatScheme::k8da4w) {
    quantizer.scales_precision = Dtype::kFloat32;
  }
  if (recipe.optimizer.kind == OptimizerKind::kAdam) {
    recipe.optimizer.weight_decay = 0.0;
  }
}

/// Reads assignments into the bound recipe and remembers where each setting came from.
class SettingReader {
 public:
  SettingReader(Recipe& recipe, std::vector<std::string>& warnings)
      : recipe_(recipe), warnings_(warnings) {}

  void read(const Assignment& assignment) {
    const auto& [key, path, node] = assignment;
    const auto [previous, is_first] = assigned_.try_emplace(key->path, &assignment);
    const std::string before = is_first ? "" : describe_value(key->field);
    read_value(*key, *node, path);
    if (!is_first && key->is_setting() && before != describe_value(key->field)) {
      fail(node->where, ": ", path, " is ", describe_value(key->field), ", but ",
           previous->second->path, " (", previous->second->node->where, ") is ", before,
           ": they are the same setting; remove one");
    }
    if (node->is_null()) {
      return;
    }
    if (key->is_setting()) {
      recipe_.sources.try_emplace(key->path, node->where);
    } else if (std::holds_alternative<Ignored>(key->field) && !assignment.names_target()) {
      ignored_ += (ignored_.empty() ? "" : ", ") + path + " (" + node->where + ")";
    }
    if (path.starts_with("trainer.")) {
      warnings_.push_back(node->where + ": " + path + " is a deprecated name of " + key->path);
    }
  }

  void warn_about_ignored() const {
    if (!ignored_.empty()) {
      warnings_.push_back("these keys have no effect: " + ignored_);
    }
  }

 private:
  Recipe& recipe_;
  std::vector<std::string>& warnings_;
  std::map<std::string, const Assignment*> assigned_;
  std::string ignored_;
};

void read_assignments(Recipe& recipe, std::vector<Assignment> assignments,
                      std::vector<std::string>& warnings) {
  // Class names first: defaults of other keys depend on them.
  const auto others = std::stable_partition(assignments.begin(), assignments.end(),
                                            std::mem_fn(&Assignment::names_target));
  SettingReader reader(recipe, warnings);
  std::for_each(assignments.begin(), others, [&](const Assignment& a) { reader.read(a); });
  apply_target_defaults(recipe, assignments);
  std::for_each(others, assignments.end(), [&](const Assignment& a) { reader.read(a); });
  reader.warn_about_ignored();
}

LoadedRecipe read_tree(const YamlNode& root, const std::string& name) {
  LoadedRecipe loaded{recipe_for(root), {}};
  Recipe& recipe = loaded.recipe;
  recipe.file = name;
  const std::vector<Key> keys = bind_keys(recipe);
  const KeyIndex index(keys);
  read_assignments(recipe, AssignmentCollector(index, loaded.warnings).collect(root),
                   loaded.warnings);
  drop_absent_sections(recipe, root);
  resolve_defaults(recipe);
  std::vector<std::string> notices = check_recipe(recipe);
  std::move(notices.begin(), notices.end(), std::back_inserter(loaded.warnings));
  return loaded;
}

}  // namespace

LoadedRecipe parse_recipe(std::string_view yaml, const std::string& name,
                          const std::vector<std::string>& overrides) {
  YamlNode root =
      parse_yaml_document(yaml, [&](int line) { return name + ":" + std::to_string(line); });
  Recipe complete = complete_recipe();
  const std::vector<Key> keys = bind_keys(complete);
  apply_overrides(root, overrides, KeyIndex(keys));
  interpolate_environment(root);
  return read_tree(root, name);
}

LoadedRecipe load_recipe(const std::filesystem::path& file,
                         const std::vector<std::string>& overrides) {
  NIBBLE_CHECK(!std::filesystem::is_directory(file), "the recipe ", file.string(),
               " is a directory, not a YAML file");
  std::ifstream stream(file, std::ios::binary);
  NIBBLE_CHECK(stream, "cannot read the recipe ", file.string());
  const std::string text{std::istreambuf_iterator<char>(stream), {}};
  return parse_recipe(text, file.string(), overrides);
}

std::vector<KeyDoc> recipe_keys() {
  Recipe complete = complete_recipe();
  std::vector<KeyDoc> docs;
  for (const Key& key : bind_keys(complete)) {
    if (!is_validation_dataset(key.path.substr(0, key.path.find('.')))) {
      docs.push_back({key.path, describe_type(key), describe_value(key.field), key.meaning,
                      key.aliases, key.is_setting()});
    }
  }
  return docs;
}

}  // namespace nibble::train
