#pragma once

#include <type_traits>

#include "simd_blocks.h"

/// The grids of groups of values: their extremes, and the parameters chosen from these.
namespace nibble::kernels::cpu {

/// Smallest and largest value of a group, as far as each lane has seen it.
template <class V>
class Extremes {
 public:
  NIBBLE_HD explicit Extremes(V value) : lowest_(value), highest_(value) {}
  NIBBLE_HD void include(V value) {
    lowest_ = nan_min(value, lowest_);
    highest_ = nan_max(value, highest_);
  }
  template <class Grid>
  NIBBLE_HD Grid choose() const {
    return Grid::choose(reduce_min(lowest_), reduce_max(highest_));
  }

  /// Those of as many groups as V has lanes.
  class Batch {
   public:
    NIBBLE_HD void set(int64_t group, const Extremes& extremes) {
      extremes.lowest_.store(lowest_[group].values);
      extremes.highest_.store(highest_[group].values);
    }
    /// The grids, one a lane.
    template <class Grids>
    NIBBLE_HD Grids choose() const {
      return Grids::choose(min_of_each(lowest_), max_of_each(highest_));
    }

   private:
    typename V::Stored lowest_[V::kLanes];
    typename V::Stored highest_[V::kLanes];
  };

 private:
  V lowest_;
  V highest_;
};

/// What a symmetric grid is chosen from, the same way.
template <class V>
class Magnitude {
 public:
  NIBBLE_HD explicit Magnitude(V value) : largest_(magnitude(value)) {}
  NIBBLE_HD void include(V value) { largest_ = max_magnitude(magnitude(value), largest_); }
  template <class Grid>
  NIBBLE_HD Grid choose() const {
    return Grid::choose_for_magnitude(reduce_max(largest_));
  }

  class Batch {
   public:
    NIBBLE_HD void set(int64_t group, const Magnitude& magnitude) {
      magnitude.largest_.store(largest_[group].values);
    }
    template <class Grids>
    NIBBLE_HD Grids choose() const {
      return Grids::choose_for_magnitude(max_magnitude_of_each(largest_));
    }

   private:
    typename V::Stored largest_[V::kLanes];
  };

 private:
  V largest_;
};

template <class V, class Grid>
using Summary = std::conditional_t<Grid::kIsSymmetric, Magnitude<V>, Extremes<V>>;

template <class V, class Grid, class D>
NIBBLE_HD Summary<V, Grid> summarize(const D* values, int64_t size) {
  Summary<V, Grid> summary(V(static_cast<float>(values[0])));
  for_each_block<V>(size, [&](int64_t i, auto count) {
    prefetch_to_read(values + i);
    summary.include(load<V>(values + i, count));
  });
  return summary;
}

/// The grids of up to as many groups as V has lanes. Their parameters are chosen in one go, a group
/// a lane: the divisions, and reducing the lanes, would cost a group of 32 more than its values.
template <class V, class Grid>
class GridBatch {
 public:
  template <class D>
  NIBBLE_HD GridBatch(const D* values, int64_t group_size, int64_t groups)
      : grids_(choose(values, group_size, groups)) {}

  NIBBLE_HD Grid operator[](int64_t group) const {
    return grids_.template map<float>([&](const Stored& lanes) { return lanes.values[group]; });
  }

 private:
  using Stored = typename V::Stored;
  using Grids = typename Grid::template With<Stored>;

  template <class D>
  NIBBLE_HD static Grids choose(const D* values, int64_t group_size, int64_t groups) {
    typename Summary<V, Grid>::Batch batch;
    for (int64_t i = 0; i < groups; ++i) {
      batch.set(i, summarize<V, Grid>(values + i * group_size, group_size));
    }
    const Summary<V, Grid> nothing(V(0.0f));
    for (int64_t spare = groups; spare < V::kLanes; ++spare) batch.set(spare, nothing);
    return batch.template choose<typename Grid::template With<V>>().template map<Stored>(
        [](V parameter) {
          Stored lanes;
          parameter.store(lanes.values);
          return lanes;
        });
  }

  Grids grids_;
};

/// The same for a single group.
template <class Grid>
struct OneGrid {
  Grid grid;
  NIBBLE_HD Grid operator[](int64_t) const { return grid; }
};

}  // namespace nibble::kernels::cpu
