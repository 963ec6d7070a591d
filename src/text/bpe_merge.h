#pragma once

#include <cstdint>
#include <vector>

#include "merge_table.h"

namespace nibble::text {

/// No symbol, as an index.
constexpr uint32_t kNoSymbol = static_cast<uint32_t>(-1);

/// A token of a piece, covering its bytes [begin, end), in a doubly linked list.
struct BpeSymbol {
  uint32_t id;
  uint32_t begin;
  uint32_t end;
  uint32_t previous = kNoSymbol;
  uint32_t next = kNoSymbol;

  bool is_merged_away() const { return begin == end; }
};

/// Links `symbols` in their order and merges neighbours, the lowest rank first, of equal ranks the
/// leftmost. O(n log n) in their number.
void merge_symbols(std::vector<BpeSymbol>& symbols, const MergeTable& merges);

}  // namespace nibble::text
