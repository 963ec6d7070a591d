#include "bpe_merge.h"

#include <queue>
#include <tuple>

namespace nibble::text {
namespace {

/// A merge that was possible when it was queued.
struct Candidate {
  Merge merge;
  uint32_t position;

  /// Reversed: the queue gives the greatest, we want the lowest rank, then the leftmost.
  bool operator<(const Candidate& other) const {
    return std::tie(merge.rank, position) > std::tie(other.merge.rank, other.position);
  }
};

void link(std::vector<BpeSymbol>& symbols) {
  for (uint32_t i = 1; i < symbols.size(); ++i) {
    symbols[i].previous = i - 1;
    symbols[i - 1].next = i;
  }
}

}  // namespace

void merge_symbols(std::vector<BpeSymbol>& symbols, const MergeTable& merges) {
  link(symbols);
  const auto merge_at = [&](uint32_t left) {
    const uint32_t right = left == kNoSymbol ? kNoSymbol : symbols[left].next;
    return right == kNoSymbol ? nullptr : merges.find(symbols[left].id, symbols[right].id);
  };
  std::vector<Candidate> candidates;
  candidates.reserve(symbols.size());
  for (uint32_t i = 0; i < symbols.size(); ++i) {
    if (const Merge* merge = merge_at(i)) {
      candidates.push_back({*merge, i});
    }
  }
  std::priority_queue<Candidate> queue({}, std::move(candidates));
  const auto propose = [&](uint32_t left) {
    if (const Merge* merge = merge_at(left)) {
      queue.push({*merge, left});
    }
  };
  while (!queue.empty()) {
    const Candidate best = queue.top();
    queue.pop();
    BpeSymbol& left = symbols[best.position];
    const Merge* const current = left.is_merged_away() ? nullptr : merge_at(best.position);
    if (current == nullptr || current->id != best.merge.id) {
      continue;  // one of the two has been merged since
    }
    BpeSymbol& right = symbols[left.next];
    left.id = best.merge.id;
    left.end = right.end;
    left.next = right.next;
    right.end = right.begin;
    if (left.next != kNoSymbol) {
      symbols[left.next].previous = best.position;
    }
    propose(left.previous);
    propose(best.position);
  }
}

}  // namespace nibble::text
