#pragma once

#include <type_traits>

#include "../grid_dispatch.h"
#include "simd_blocks.h"

/// The grids of groups of values: their extremes, and the parameters chosen from these.
namespace nibble::kernels::cpu {

/// Smallest and largest value of a group, as far as each lane has seen it.
template <class V>
class Extremes {
 public:
  using Part = typename V::Part;

  NIBBLE_HD explicit Extremes(V value)
      : lowest_(value), highest_(value), has_nan_(any_nan(value)) {}
  NIBBLE_HD void include(V value) {
    lowest_ = ordered_min(value, lowest_);
    highest_ = ordered_max(value, highest_);
    has_nan_ = Part::either(has_nan_, any_nan(value));
  }

  /// Those of as many groups as a register has lanes.
  class Batch {
   public:
    NIBBLE_HD void set(int64_t group, const Extremes& extremes) {
      const auto min = [](Part a, Part b) { return ordered_min(a, b); };
      const auto max = [](Part a, Part b) { return ordered_max(a, b); };
      reduce_parts(extremes.lowest_, min).store(lowest_[group].values);
      reduce_parts(extremes.highest_, max).store(highest_[group].values);
      nan_groups_ |= uint32_t{Part::bits_of(extremes.has_nan_) != 0} << group;
    }
    /// The grids, one a lane.
    template <class Grids>
    NIBBLE_HD Grids choose() const {
      const auto is_nan = Part::mask_from_bits(nan_groups_);
      const Part nan(__builtin_nanf(""));
      return Grids::choose(select(is_nan, nan, min_of_each(lowest_)),
                           select(is_nan, nan, max_of_each(highest_)));
    }

   private:
    typename Part::Stored lowest_[Part::kLanes];
    typename Part::Stored highest_[Part::kLanes];
    uint32_t nan_groups_ = 0;
  };

 private:
  V lowest_;
  V highest_;
  typename Part::Mask has_nan_;
};

/// What a symmetric grid is chosen from, the same way.
template <class V>
class Magnitude {
 public:
  using Part = typename V::Part;

  NIBBLE_HD explicit Magnitude(V value) : largest_(magnitude(value)) {}
  NIBBLE_HD void include(V value) { largest_ = max_magnitude(magnitude(value), largest_); }
  class Batch {
   public:
    NIBBLE_HD void set(int64_t group, const Magnitude& magnitude) {
      magnitude.largest().store(largest_[group].values);
    }
    template <class Grids>
    NIBBLE_HD Grids choose() const {
      return Grids::choose_for_magnitude(max_magnitude_of_each(largest_));
    }

   private:
    typename Part::Stored largest_[Part::kLanes];
  };

 private:
  NIBBLE_HD Part largest() const {
    return reduce_parts(largest_, [](Part a, Part b) { return max_magnitude(a, b); });
  }

  V largest_;
};

template <class V, class Grid>
using Summary = std::conditional_t<Grid::kIsSymmetric, Magnitude<V>, Extremes<V>>;

template <class V, class Grid, class D>
NIBBLE_HD Summary<V, Grid> summarize(const D* values, int64_t size) {
  Summary<V, Grid> summary(V(static_cast<float>(values[0])));
  for_each_block<V>(
      size, [&](int64_t i, auto count) __attribute__((always_inline)) {
        prefetch_to_read<V>(values + i);
        summary.include(load<V>(values + i, count));
      });
  return summary;
}

/// The grids of up to as many groups as a register has lanes. Their parameters are computed in one
/// go, a group a lane: the divisions, and reducing the lanes, would cost a group of 32 more than
/// its values.
template <class V, class Grid>
class GridBatch {
 public:
  using Part = typename V::Part;
  static constexpr int64_t kGroups = Part::kLanes;

  /// Those of the groups that begin at `values`.
  template <class D>
  NIBBLE_HD static GridBatch choose(const D* values, int64_t group_size, int64_t groups) {
    typename Summary<V, Grid>::Batch batch;
    for (int64_t i = 0; i < groups; ++i) {
      batch.set(i, summarize<V, Grid>(values + i * group_size, group_size));
    }
    const Summary<V, Grid> nothing{V(0.0f)};
    for (int64_t spare = groups; spare < kGroups; ++spare) batch.set(spare, nothing);
    return GridBatch(batch.template choose<Grids>());
  }
  /// Those of stored scales and zero points; the latter may be null for a symmetric grid.
  template <class S>
  NIBBLE_HD static GridBatch restore(const S* scales, const S* zeros, int64_t groups) {
    const Part zero = zeros == nullptr ? Part(0.0f) : load_first<Part>(zeros, groups);
    return GridBatch(restore_grid(Tag<Grids>{}, load_first<Part>(scales, groups), zero));
  }

  /// Writes scale and zero point of the first `groups`; either may be null.
  template <class S>
  NIBBLE_HD void store(S* scales, S* zeros, int64_t groups) const {
    const Grids grids =
        lanes_.template map<Part>([](const Stored& lanes) { return Part::load(lanes.values); });
    if (scales != nullptr) store_first(grids.scale, scales, groups);
    if (zeros != nullptr) store_first(grids.zero(), zeros, groups);
  }

  NIBBLE_HD Grid operator[](int64_t group) const {
    return lanes_.template map<float>([&](const Stored& lanes) { return lanes.values[group]; });
  }

 private:
  using Stored = typename Part::Stored;
  using Grids = typename Grid::template With<Part>;

  NIBBLE_HD explicit GridBatch(const Grids& grids)
      : lanes_(grids.template map<Stored>([](Part parameter) {
          Stored lanes;
          parameter.store(lanes.values);
          return lanes;
        })) {}

  typename Grid::template With<Stored> lanes_;
};

}  // namespace nibble::kernels::cpu
