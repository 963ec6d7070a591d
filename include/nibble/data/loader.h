#pragma once

#include <nlohmann/json.hpp>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace nibble::data {

struct LoaderOptions {
  int64_t batch_size = 1;  ///< rows per batch; the last batch of an epoch may be smaller
  bool shuffle = false;    ///< a new order each epoch: permutation(rows, seed, epoch)
  uint64_t seed = 42;
  bool drop_last = false;  ///< drops the smaller last batch of an epoch
};

/// Hands out batches of row numbers, epoch after epoch. What comes next depends on the options, the
/// epoch and the position alone, so a few numbers resume it exactly.
class Loader {
 public:
  /// Throws Error when an epoch would have no batch.
  Loader(size_t row_count, const LoaderOptions& options);

  /// The next batch's row numbers; after an epoch's last batch the first of the next.
  std::vector<size_t> next();

  /// Epoch (0-based) of the batch that next() gives.
  int64_t epoch() const { return epoch_; }
  /// Rows of that epoch handed out before.
  size_t position() const { return position_; }
  int64_t batches_per_epoch() const;

  /// {"epoch", "position"} and what they depend on: rows, batch_size, shuffle, seed, drop_last.
  nlohmann::json state() const;
  /// Goes on where state() was taken. Throws Error, and changes nothing, when the state is
  /// malformed or was taken with other rows or options.
  void restore(const nlohmann::json& state);

 private:
  void start_epoch(int64_t epoch);
  size_t epoch_end() const;

  size_t row_count_;
  LoaderOptions options_;
  int64_t epoch_ = 0;
  size_t position_ = 0;
  std::vector<size_t> order_;  ///< of the current epoch; empty without shuffle
};

}  // namespace nibble::data
