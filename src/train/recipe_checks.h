#pragma once

#include <nibble/train/recipe.h>

#include <string>
#include <vector>

namespace nibble::train {

/// Fills the members whose default depends on other keys (batch size, epochs).
void resolve_defaults(Recipe& recipe);

/// Throws Error where keys contradict each other or a required one is missing; returns warnings
/// about combinations that are legal but hardly meant.
std::vector<std::string> check_recipe(const Recipe& recipe);

}  // namespace nibble::train
