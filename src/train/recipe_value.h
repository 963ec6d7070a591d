#pragma once

#include <string>
#include <string_view>

#include "recipe_keys.h"
#include "yaml_node.h"

namespace nibble::train {

/// Stores `node` in the field of `key`; null empties an optional member and leaves any other at its
/// default. Throws Error that starts with the location and path of `node` as written.
void read_value(const Key& key, const YamlNode& node, const std::string& written_path);

/// The last part of a dotted name: "AdamW" of "torch.optim.AdamW".
std::string_view last_component(std::string_view name);

std::string lowercase(std::string_view text);

}  // namespace nibble::train
