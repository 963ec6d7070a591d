#pragma once

#include <string>
#include <vector>

#include "key_index.h"
#include "yaml_node.h"

namespace nibble::train {

/// Applies `--a.b.c value`, `--a.b.c=value` and `--flag` to the tree; they replace what the file
/// says under any name of the same key. Values: true, false and null words, lists and maps (YAML or
/// Python), quoted strings, otherwise text that the key's type reads.
/// Throws Error for anything else.
void apply_overrides(YamlNode& root, const std::vector<std::string>& arguments,
                     const KeyIndex& index);

/// The start of the `where` of overrides.
inline constexpr const char* kCommandLine = "command line";

}  // namespace nibble::train
