#pragma once

#include <string>
#include <string_view>

#include "yaml_node.h"

namespace nibble::train {

/// The text with line feeds only and without a byte order mark. Throws Error with the location
/// where it is not UTF-8, holds a NUL byte, is too large or is indented with tabs.
std::string clean_yaml_text(std::string_view text, const Locate& locate);

}  // namespace nibble::train
