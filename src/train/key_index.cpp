#include "key_index.h"

#include <algorithm>

#include "recipe_value.h"

namespace nibble::train {
namespace {

std::string parent_path(const std::string& path) {
  const size_t dot = path.rfind('.');
  return dot == std::string::npos ? "" : path.substr(0, dot);
}

std::string first_component(const std::string& path) { return path.substr(0, path.find('.')); }

}  // namespace

KeyIndex::KeyIndex(const std::vector<Key>& keys) {
  for (const Key& key : keys) {
    keys_[key.path] = &key;
    for (const std::string& alias : key.aliases) {
      keys_[alias] = &key;
    }
  }
  for (const auto& [path, key] : keys_) {
    for (std::string section = parent_path(path); !section.empty();
         section = parent_path(section)) {
      sections_.insert(section);
    }
  }
}

const Key* KeyIndex::find(const std::string& path) const {
  const auto found = keys_.find(path);
  return found == keys_.end() ? nullptr : found->second;
}

bool KeyIndex::is_section(const std::string& path) const { return sections_.count(path) > 0; }

std::vector<std::string> KeyIndex::children(const std::string& section) const {
  std::set<std::string> names;
  const auto collect = [&](const std::string& path) {
    if (parent_path(path) == section) {
      names.insert(std::string(last_component(path)));
    }
  };
  for (const auto& [path, key] : keys_) {
    collect(path);
  }
  std::for_each(sections_.begin(), sections_.end(), collect);
  return {names.begin(), names.end()};
}

std::vector<std::string> KeyIndex::same_name(const std::string& path) const {
  std::vector<std::string> matches;
  const auto collect = [&](const std::string& candidate) {
    if (last_component(candidate) == last_component(path) && candidate != path &&
        candidate.find('.') != std::string::npos) {
      matches.push_back(candidate);
    }
  };
  for (const auto& [candidate, key] : keys_) {
    collect(candidate);
  }
  std::for_each(sections_.begin(), sections_.end(), collect);
  const std::string section = first_component(path);
  std::stable_partition(matches.begin(), matches.end(), [&](const std::string& match) {
    return first_component(match) == section;
  });
  return matches;
}

std::string KeyIndex::nearest_child(const std::string& section, const std::string& name) const {
  const size_t limit = std::max<size_t>(1, name.size() / 3);
  std::string nearest;
  size_t best = limit + 1;
  for (const std::string& child : children(section)) {
    const size_t distance = edit_distance(lowercase(name), lowercase(child));
    if (distance < best) {
      best = distance;
      nearest = child;
    }
  }
  return nearest;
}

std::string KeyIndex::suggest(const std::string& path, const YamlNode* empty_section) const {
  const std::string section = parent_path(path);
  const std::string name(last_component(path));
  const std::string nearest = nearest_child(section, name);
  if (empty_section != nullptr) {
    const std::string intended = child_path(child_path(section, empty_section->key), name);
    if (find(intended) != nullptr || is_section(intended)) {
      return "it belongs to '" + intended + "', but '" + empty_section->key + "' (" +
             empty_section->where + ") is empty: indent the lines below it by two more spaces";
    }
  }
  const std::vector<std::string> elsewhere = same_name(path);
  const bool same_section =
      !elsewhere.empty() && first_component(elsewhere.front()) == first_component(path);
  if (same_section || (!elsewhere.empty() && elsewhere.size() <= 3 && nearest.empty())) {
    const Key* key = find(elsewhere.front());
    const std::string target = key != nullptr ? key->path : elsewhere.front();
    return "move it to '" + target + "'" + (section.empty() ? " (was the indentation lost?)" : "");
  }
  if (!nearest.empty()) {
    return "did you mean '" + child_path(section, nearest) + "'?";
  }
  if (section.empty() && elsewhere.empty()) {
    return "";
  }
  std::string all;
  for (const std::string& child : children(section)) {
    all += (all.empty() ? "" : ", ") + child;
  }
  return section.empty() ? "no section has this name; a key of this name belongs to one of: '" +
                               elsewhere.front() + "', ... (was the indentation lost?)"
                         : "keys of '" + section + "': " + all;
}

size_t edit_distance(const std::string& a, const std::string& b) {
  std::vector<std::vector<size_t>> d(a.size() + 1, std::vector<size_t>(b.size() + 1));
  for (size_t i = 0; i <= a.size(); ++i) {
    for (size_t j = 0; j <= b.size(); ++j) {
      if (i == 0 || j == 0) {
        d[i][j] = i + j;
        continue;
      }
      const size_t replaced = d[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      d[i][j] = std::min({d[i - 1][j] + 1, d[i][j - 1] + 1, replaced});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
      }
    }
  }
  return d[a.size()][b.size()];
}

std::string child_path(const std::string& section, const std::string& name) {
  return section.empty() ? name : section + "." + name;
}

}  // namespace nibble::train
