#pragma once

#include <functional>

#include "aligned_text.h"
#include "json_node.h"
#include "regex.h"

namespace nibble::text {

/// A step that rewrites a text before it is split.
using Normalizer = std::function<void(AlignedText& text)>;

/// Reads the "normalizer" of a tokenizer.json. Throws Error for types that are not supported.
Normalizer read_normalizer(const JsonNode& node, int depth = 0);

/// Replaces every match of `pattern` by `content`.
void replace_matches(AlignedText& text, const std::vector<Range>& matches,
                     std::string_view content);
/// Puts `prefix` in front; it shares the origin of the first character. `text` is not empty.
void prepend(AlignedText& text, std::string_view prefix);

}  // namespace nibble::text
