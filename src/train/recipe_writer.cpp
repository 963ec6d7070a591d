#include <nibble/train/recipe_parser.h>

#include <algorithm>
#include <sstream>
#include <string>
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

}  // namespace nibble::train
