#pragma once

#include <nibble/data/row.h>

#include <cstdint>
#include <span>
#include <vector>

namespace nibble::data {

/// Rows padded to one length, row-major [rows, length].
struct Batch {
  int64_t rows = 0;
  int64_t length = 0;
  std::vector<int64_t> ids;       ///< padded with the pad id
  std::vector<int64_t> labels;    ///< padded with kIgnoreIndex
  std::vector<int64_t> lengths;   ///< [rows], positions before the padding
  std::vector<int64_t> segments;  ///< like ids, 0 in the padding; empty unless the rows are packed
  int64_t target_count = 0;       ///< labels that are not kIgnoreIndex
};

/// Pads the rows to the longest of them, rounded up to a multiple of `length_multiple`. Padding is
/// on the right: under causal attention no real position sees it. Throws Error for no rows, or
/// packed and unpacked rows together.
Batch collate(std::span<const Row* const> rows, int64_t pad_id, int64_t length_multiple = 1);

/// Joins rows, in order, into rows of at most `size` positions: a row that does not fit the pack at
/// hand starts the next. `segments` tells the sequences of a pack apart; attention and positions
/// must respect it. Throws Error for a row longer than `size`.
std::vector<Row> pack_rows(std::span<const Row> rows, int64_t size);

}  // namespace nibble::data
