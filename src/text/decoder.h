#pragma once

#include <functional>
#include <string>
#include <vector>

#include "json_node.h"

namespace nibble::text {

/// A step from tokens to text; the text is what the last step leaves, joined.
using Decoder = std::function<void(std::vector<std::string>& tokens)>;

/// Reads the "decoder" of a tokenizer.json. Throws Error for types that are not supported.
Decoder read_decoder(const JsonNode& node, int depth = 0);

}  // namespace nibble::text
