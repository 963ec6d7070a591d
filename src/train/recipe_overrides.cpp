#include "recipe_overrides.h"

#include <nibble/core/error.h>

#include <algorithm>
#include <optional>
#include <set>
#include <sstream>
#include <string_view>
#include <utility>
#include <variant>

namespace nibble::train {
namespace {

struct Override {
  std::string path;
  std::string value;
  bool is_flag = false;  ///< stands without a value, which is true then

  std::string where() const { return std::string(kCommandLine) + " --" + path; }
};

/// An empty value is rather a variable of a shell script that is not set.
void check_not_empty(const Override& entry) {
  NIBBLE_CHECK(!entry.value.empty(), entry.where(), ": the value is empty; write null for none, ",
               "or \"''\" for an empty text");
}

std::vector<Override> split_arguments(const std::vector<std::string>& arguments) {
  std::vector<Override> overrides;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    NIBBLE_CHECK(argument.starts_with("--") && argument.size() > 2, kCommandLine,
                 ": expected --section.key value, got '", argument, "'");
    const size_t equals = argument.find('=');
    if (equals != std::string::npos) {
      overrides.push_back({argument.substr(2, equals - 2), argument.substr(equals + 1)});
      check_not_empty(overrides.back());
    } else if (i + 1 < arguments.size() && !arguments[i + 1].starts_with("--")) {
      overrides.push_back({argument.substr(2), arguments[++i]});
      check_not_empty(overrides.back());
    } else {
      overrides.push_back({argument.substr(2), "true", /*is_flag=*/true});
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

bool starts_jinja(std::string_view text) {
  return text.starts_with("{%") || text.starts_with("{{") || text.starts_with("{#");
}

/// The value as a tree; a Python tuple counts as a list, Jinja (never valid YAML) as text.
YamlNode parse_value(const Override& entry) {
  std::string text = entry.value;
  if (text.size() > 1 && text.front() == '(' && text.back() == ')') {
    text.front() = '[';
    text.back() = ']';
  }
  const bool quoted = text.size() > 1 && (text.front() == '"' || text.front() == '\'') &&
                      text.front() == text.back();
  const bool is_map = text.starts_with('{') && text.ends_with('}') && !starts_jinja(text);
  if (quoted || is_map || text.starts_with('[')) {
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

/// Whether `true`, the value of a flag, is one that the key may take.
bool may_be_flag(const Key& key) {
  if (const auto* choice = std::get_if<Choice>(&key.field)) {
    return std::any_of(choice->names.begin(), choice->names.end(),
                       [](const auto& name) { return name.first == "true"; });
  }
  return std::holds_alternative<bool*>(key.field) || !key.is_setting();
}

}  // namespace

void apply_overrides(YamlNode& root, const std::vector<std::string>& arguments,
                     const KeyIndex& index) {
  std::set<std::string> overridden;  // as written
  for (const Override& entry : split_arguments(arguments)) {
    const std::vector<std::string> parts = split_path(entry);
    if (const Key* key = index.find(entry.path)) {
      NIBBLE_CHECK(!entry.is_flag || may_be_flag(*key), entry.where(),
                   ": a value is missing: expected ", describe_type(*key));
      std::vector<std::string> names = key->aliases;
      names.push_back(key->path);
      for (const std::string& name : names) {
        // Two names of one setting on the command line: the reader compares them as in a file.
        if (overridden.count(name) == 0) erase_path(root, split_path({name, ""}), 0);
      }
    }
    set_path(root, parts, parse_value(entry));
    overridden.insert(entry.path);
  }
}

}  // namespace nibble::train
