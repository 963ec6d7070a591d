#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace nibble::data {

/// A label that the loss ignores.
inline constexpr int64_t kIgnoreIndex = -100;

/// One training sequence: labels[t] is the target of position t (labels are shifted here, the loss
/// does not shift), kIgnoreIndex where there is none. A text of n tokens gives n - 1 positions.
struct Row {
  std::vector<int64_t> ids;
  std::vector<int64_t> labels;
  /// Packed rows only: 1, 2, ... for the sequences in the row. Empty: one sequence.
  std::vector<int64_t> segments = {};

  int64_t target_count() const {
    return std::count_if(labels.begin(), labels.end(),
                         [](int64_t label) { return label != kIgnoreIndex; });
  }
};

}  // namespace nibble::data
