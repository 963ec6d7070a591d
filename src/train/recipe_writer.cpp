#include <nibble/train/recipe_parser.h>

#include <algorithm>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "recipe_keys.h"

namespace nibble::train {
namespace {

std::vector<std::string> split(const std::string& path) {
  std::vector<std::string> parts;
  std::istringstream stream(path);
  for (std::string part; std::getline(stream, part, '.');) {
    parts.push_back(part);
  }
  return parts;
}

using Settings = std::vector<std::pair<std::string, std::string>>;

/// Path and value of every setting, in order.
Settings settings_of(Recipe recipe) {
  Settings settings;
  for (const Key& key : bind_keys(recipe)) {
    if (key.is_setting()) settings.emplace_back(key.path, describe_value(key.field));
  }
  return settings;
}

/// The value of `path`; "null" for a path of a section that is not there.
std::string value_of(const Settings& settings, const std::string& path) {
  const auto found = std::find_if(settings.begin(), settings.end(),
                                  [&](const auto& entry) { return entry.first == path; });
  return found == settings.end() ? "null" : found->second;
}

std::string indentation(size_t depth) { return std::string(2 * depth, ' '); }

}  // namespace

std::string to_yaml(const Recipe& recipe) {
  Recipe copy = recipe;
  std::ostringstream yaml;
  std::vector<std::string> open;  // the sections that the previous key stands in
  for (const Key& key : bind_keys(copy)) {
    if (!key.is_setting()) {
      continue;
    }
    const std::vector<std::string> parts = split(key.path);
    const std::vector<std::string> sections(parts.begin(), parts.end() - 1);
    const size_t shared =
        std::mismatch(open.begin(), open.end(), sections.begin(), sections.end()).first -
        open.begin();
    for (size_t depth = shared; depth < sections.size(); ++depth) {
      yaml << indentation(depth) << sections[depth] << ":\n";
    }
    yaml << indentation(sections.size()) << parts.back() << ": " << describe_value(key.field)
         << '\n';
    open = sections;
  }
  return yaml.str();
}

std::vector<SettingChange> changed_settings(const Recipe& before, const Recipe& after) {
  const Settings old_settings = settings_of(before);
  const Settings new_settings = settings_of(after);
  std::vector<SettingChange> changes;
  const auto compare = [&](const std::string& path) {
    SettingChange change{path, value_of(old_settings, path), value_of(new_settings, path)};
    const bool is_new = std::none_of(changes.begin(), changes.end(),
                                     [&](const auto& known) { return known.path == path; });
    if (change.before != change.after && is_new) changes.push_back(std::move(change));
  };
  for (const auto& [path, value] : new_settings) compare(path);
  for (const auto& [path, value] : old_settings) compare(path);  // of sections that are gone
  return changes;
}

}  // namespace nibble::train
