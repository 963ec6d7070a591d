#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace nibble::text {

/// What becomes of a pair of adjacent tokens; the lowest rank is merged first.
struct Merge {
  uint32_t rank = 0;
  uint32_t id = 0;
};

/// Pairs of token ids to merges: open addressing, at most half full.
class MergeTable {
 public:
  explicit MergeTable(size_t max_pairs) : slots_(std::bit_ceil(2 * max_pairs + 1)) {}

  /// A pair that is there already is overwritten.
  void insert(uint32_t left, uint32_t right, Merge merge) {
    Slot& slot = slots_[position(key_of(left, right))];
    slot = {key_of(left, right), merge, true};
  }

  const Merge* find(uint32_t left, uint32_t right) const {
    const Slot& slot = slots_[position(key_of(left, right))];
    return slot.used ? &slot.merge : nullptr;
  }

 private:
  struct Slot {
    uint64_t key = 0;
    Merge merge;
    bool used = false;
  };

  static uint64_t key_of(uint32_t left, uint32_t right) { return uint64_t{left} << 32 | right; }

  /// The slot that holds `key`, or the empty one where it belongs.
  size_t position(uint64_t key) const {
    const size_t mask = slots_.size() - 1;
    uint64_t hash = key * 0x9E3779B97F4A7C15;
    hash ^= hash >> 32;
    size_t at = hash & mask;
    while (slots_[at].used && slots_[at].key != key) {
      at = (at + 1) & mask;
    }
    return at;
  }

  std::vector<Slot> slots_;
};

}  // namespace nibble::text
