#include <nibble/train/recipe.h>

namespace nibble::train {

std::string Recipe::describe_key(const std::string& path) const {
  const auto source = sources.find(path);
  return source == sources.end() ? path : source->second + ": " + path;
}

}  // namespace nibble::train
