#include <nibble/train/recipe.h>

namespace nibble::train {

std::string Recipe::describe_key(const std::string& path) const {
  const auto source = sources.find(path);
  const std::string& where = source == sources.end() ? file : source->second;
  return where.empty() ? path : where + ": " + path;
}

}  // namespace nibble::train
