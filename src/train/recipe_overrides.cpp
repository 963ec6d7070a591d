#include "recipe_overrides.h"

#include <nibble/core/error.h>

#include <algorithm>
#include <optional>
#include <sstream>
#include <string_view>
#include <utility>

namespace nibble::train {
namespace {

struct Override {
  std::string path;
  std::string value;

  std::string where() const { return std::string(kCommandLine) + " --" + path; }
};

std::vector<Override> split_arguments(const std::vector<std::string>& arguments) {
  std::vector<Override> overrides;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    NIBBLE_CHECK(argument.starts_with("--") && argument.size() > 2, kCommandLine,
                 ": expected --section.key value, got '", argument, "'");
    const size_t equals = argument.find('=');
    if (equals != std::string::npos) {
      overrides.push_back({argument.substr(2, equals - 2), argument.substr(equals + 1)});
    } else if (i + 1 < arguments.size() && !arguments[i + 1].starts_with("--")) {
      overrides.push_back({argument.substr(2), arguments[++i]});
    } else {
      overrides.push_back({argument.substr(2), "true"});
    }
  }
  return overrides;
}

std::vector<std::string> split_path(const Override& entry) {
  std::vector<std::string> parts;
  std::istringstream stream(entry.path);
  for (std::string part; std::getline(stream, part, '.');) {
    parts.push_back(part);
  }
  const bool complete = !parts.empty() && entry.path.back() != '.' &&
                        std::find(parts.begin(), parts.end(), "") == parts.end();
  NIBBLE_CHECK(complete, kCommandLine, ": expected --section.key, got '--", entry.path, "'");
  NIBBLE_CHECK(parts.size() <= kMaxDepth, kCommandLine, ": '--", entry.path.substr(0, 60),
               "...' names a key more than ", kMaxDepth, " levels deep");
  return parts;
}

/// The value as a tree; a Python tuple counts as a list.
YamlNode parse_value(const Override& entry) {
  std::string text = entry.value;
  if (text.size() > 1 && text.front() == '(' && text.back() == ')') {
    text.front() = '[';
    text.back() = ']';
  }
  const bool quoted = text.size() > 1 && (text.front() == '"' || text.front() == '\'') &&
                      text.front() == text.back();
  if (quoted || text.starts_with('[') || (text.starts_with('{') && text.ends_with('}'))) {
    return parse_yaml_value(text, [&](int) { return entry.where(); });
  }
  const auto kind = is_null_word(text) ? YamlNode::Kind::kNull : YamlNode::Kind::kScalar;
  return {kind, {}, text, entry.where(), {}};
}

void erase_path(YamlNode& node, const std::vector<std::string>& parts, size_t depth) {
  YamlNode* child = node.find(parts[depth]);
  if (child == nullptr) {
    return;
  }
  if (depth + 1 < parts.size()) {
    erase_path(*child, parts, depth + 1);
  } else {
    node.children.erase(node.children.begin() + (child - node.children.data()));
  }
}

void set_path(YamlNode& root, const std::vector<std::string>& parts, YamlNode value) {
  YamlNode* node = &root;
  for (const std::string& part : parts) {
    const bool can_hold_keys = node->is_map() || node->is_null();
    NIBBLE_CHECK(can_hold_keys, value.where, ": '", node->key, "' (", node->where, ") is ",
                 node->describe(), ", not a section");
    node->kind = YamlNode::Kind::kMap;
    YamlNode* child = node->find(part);
    if (child == nullptr) {
      node->children.push_back({YamlNode::Kind::kNull, part, {}, value.where, {}});
      child = &node->children.back();
    }
    node = child;
  }
  value.key = std::move(node->key);
  *node = std::move(value);
}

}  // namespace

void apply_overrides(YamlNode& root, const std::vector<std::string>& arguments,
                     const KeyIndex& index) {
  for (const Override& entry : split_arguments(arguments)) {
    const std::vector<std::string> parts = split_path(entry);
    if (const Key* key = index.find(entry.path)) {
      std::vector<std::string> names = key->aliases;
      names.push_back(key->path);
      for (const std::string& name : names) {
        erase_path(root, split_path({name, ""}), 0);
      }
    }
    set_path(root, parts, parse_value(entry));
  }
}

}  // namespace nibble::train
