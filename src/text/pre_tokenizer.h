#pragma once

#include <functional>
#include <vector>

#include "aligned_text.h"
#include "json_node.h"
#include "regex.h"

namespace nibble::text {

/// A text cut into pieces, in order; what lies between them is dropped. No piece is empty.
struct Pieces {
  AlignedText text;
  std::vector<Range> ranges;
  /// The pieces stand for their bytes spelled in the byte alphabet (byte_level.h), which a model
  /// that knows the alphabet need not see written out.
  bool stands_for_bytes = false;

  std::string_view operator[](size_t index) const {
    return text.text().substr(ranges[index].begin, ranges[index].end - ranges[index].begin);
  }
};

/// Writes out the byte alphabet where the pieces only stand for it.
void spell_bytes(Pieces& pieces);

/// A step that cuts the pieces further, or rewrites them.
using PreTokenizer = std::function<void(Pieces& pieces)>;

/// Reads the "pre_tokenizer" of a tokenizer.json. Throws Error for types that are not supported.
PreTokenizer read_pre_tokenizer(const JsonNode& node, int depth = 0);

}  // namespace nibble::text
