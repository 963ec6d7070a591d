#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "recipe_keys.h"
#include "yaml_node.h"

namespace nibble::train {

/// Where each path leads, and what a path that leads nowhere may have meant.
class KeyIndex {
 public:
  /// Keeps pointers into `keys`.
  explicit KeyIndex(const std::vector<Key>& keys);

  /// The key that `path` names, canonically or by an alias; nullptr for any other path.
  const Key* find(const std::string& path) const;
  /// True for "qat" and "qat.quantizer": keys stand below them.
  bool is_section(const std::string& path) const;

  /// The end of an error about the unknown `path`, or nothing where no key resembles it: the place
  /// where a key of this name belongs, or the nearest key beside it. `empty_section` is the last
  /// section before it that holds nothing: its keys may have lost their indentation.
  std::string suggest(const std::string& path, const YamlNode* empty_section) const;

 private:
  /// Names of the keys and sections directly below `section`.
  std::vector<std::string> children(const std::string& section) const;
  /// Paths of the same name elsewhere, those in the same top-level section first.
  std::vector<std::string> same_name(const std::string& path) const;
  /// The child of `section` most like `name`; empty where none is near.
  std::string nearest_child(const std::string& section, const std::string& name) const;

  std::map<std::string, const Key*> keys_;
  std::set<std::string> sections_;
};

/// Number of inserted, removed, replaced or swapped characters between two words.
size_t edit_distance(const std::string& a, const std::string& b);

/// "a" + "b" -> "a.b"; "" + "b" -> "b".
std::string child_path(const std::string& section, const std::string& name);

}  // namespace nibble::train
