#pragma once

#include <nibble/numerics/pack_int4.h>

#include <cstring>
#include <type_traits>

#include "../grid_dispatch.h"
#include "cpu_kernels.h"
#include "row_bits.h"

/// The CPU kernels over one SIMD register type V (simd_avx2.h, simd_avx512.h): the same loops, and
/// the formulas of numerics/grids.h, for every instruction set. A group is read twice, the second
/// time from the cache: once to choose its grid, once to quantize.
///
/// Whatever is instantiated here must depend on V or be always inlined, see host_device.h.
namespace nibble::kernels::cpu {

/// The count of a full register, known to the compiler.
template <class V>
struct FullBlock {
  NIBBLE_HD constexpr operator int64_t() const { return V::kLanes; }
};

template <class V, class T>
NIBBLE_HD V load(const T* source, FullBlock<V>) {
  return V::load(source);
}
/// Lanes from `count` on repeat the first value, which changes no extreme.
template <class V, class T>
NIBBLE_HD V load(const T* source, int64_t count) {
  T lanes[V::kLanes];
  for (int64_t i = 0; i < V::kLanes; ++i) lanes[i] = source[i < count ? i : 0];
  return V::load(lanes);
}

template <class V, class T>
NIBBLE_HD void store(V value, T* target, FullBlock<V>) {
  value.store(target);
}
template <class V, class T>
NIBBLE_HD void store(V value, T* target, int64_t count) {
  T lanes[V::kLanes];
  value.store(lanes);
  memcpy(target, lanes, static_cast<size_t>(count) * sizeof(T));
}

/// Calls body(first, count) for each register's worth of [0, size).
template <class V, class Body>
NIBBLE_HD void for_each_block(int64_t size, Body&& body) {
  int64_t first = 0;
  for (; first + V::kLanes <= size; first += V::kLanes) body(first, FullBlock<V>{});
  if (first < size) body(first, size - first);
}

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
  for_each_block<V>(size,
                    [&](int64_t i, auto count) { summary.include(load<V>(values + i, count)); });
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

template <class T>
NIBBLE_HD T* offset(T* base, int64_t elements) {
  return base == nullptr ? nullptr : base + elements;
}

template <class S>
NIBBLE_HD float stored(const void* values, int64_t index) {
  return values == nullptr ? 0.0f : static_cast<float>(static_cast<const S*>(values)[index]);
}

/// Codes minus `smallest` at the columns of a packed row from `col` on.
template <class V>
NIBBLE_HD void store_nibbles(V code, int smallest, uint8_t* row, int64_t col, int64_t count) {
  if (count == V::kLanes && col % 2 == 0) {
    code.store_nibbles(row + col / 2, smallest);
    return;
  }
  int8_t codes[V::kLanes];
  code.store(codes);
  for (int64_t i = 0; i < count; ++i) numerics::set_nibble(row, col + i, codes[i] - smallest);
}

template <class V>
NIBBLE_HD V load_nibbles(const uint8_t* row, int64_t col, int64_t count) {
  if (count == V::kLanes && col % 2 == 0) return V::load_nibbles(row + col / 2);
  int8_t nibbles[V::kLanes] = {};
  for (int64_t i = 0; i < count; ++i) {
    nibbles[i] = static_cast<int8_t>(numerics::nibble_at(row, col + i));
  }
  return V::load(nibbles);
}

template <class V, class Grid, class D, class Out>
NIBBLE_HD void fake_quantize_group(const Grid& grid, int64_t first, int64_t size, const D* input,
                                   Out* output, int8_t* codes, uint8_t* packed_codes,
                                   RowBitWriter* bits) {
  constexpr int kSmallest = static_cast<int>(Grid::kMinCode);
  for_each_block<V>(size, [&](int64_t i, auto count) {
    const int64_t col = first + i;
    const auto [code, in_range] = numerics::quantize(grid, load<V>(input + col, count));
    if (output != nullptr) store(grid.dequantize(code), output + col, count);
    if (codes != nullptr) store(code, codes + col, count);
    if (packed_codes != nullptr) store_nibbles(code, kSmallest, packed_codes, col, count);
    if (bits != nullptr) bits->append(V::bits_of(in_range), count);
  });
}

template <class V, class D, class S, class Grid, class Out>
void fake_quantize_rows(const FakeQuantParams& p, int64_t row_begin, int64_t row_end) {
  const GroupedMatrix m = p.matrix;
  const int64_t groups = m.cols / m.group_size;
  for (int64_t row = row_begin; row < row_end; ++row) {
    const D* input = static_cast<const D*>(p.input) + row * p.input_row_stride;
    Out* output = offset(static_cast<Out*>(p.output), row * m.cols);
    int8_t* codes = offset(p.codes, row * m.cols);
    uint8_t* packed_codes = offset(p.packed_codes, row * numerics::packed_row_bytes(m.cols));
    S* scales = offset(static_cast<S*>(p.scales), row * groups);
    S* zeros = offset(static_cast<S*>(p.zeros), row * groups);
    RowBitWriter bits(offset(p.in_range, row * mask_row_bytes(m.cols)));

    const auto fake_quantize_groups = [&](const auto& grids, int64_t begin, int64_t end) {
      for (int64_t g = begin; g < end; ++g) {
        const Grid grid = grids[g - begin];
        const int64_t first = g * m.group_size;
        if (scales != nullptr) scales[g] = S(grid.scale);
        if (zeros != nullptr) zeros[g] = S(grid.zero());
        fake_quantize_group<V>(grid, first, m.group_size, input, output, codes, packed_codes,
                               p.in_range == nullptr ? nullptr : &bits);
      }
    };
    if (groups == 1) {
      const Grid grid = summarize<V, Grid>(input, m.group_size).template choose<Grid>();
      fake_quantize_groups(OneGrid<Grid>{grid}, 0, 1);
    } else {
      for (int64_t begin = 0; begin < groups; begin += V::kLanes) {
        const int64_t end = begin + V::kLanes < groups ? begin + V::kLanes : groups;
        const D* first = input + begin * m.group_size;
        fake_quantize_groups(GridBatch<V, Grid>(first, m.group_size, end - begin), begin, end);
      }
    }
    if (p.in_range != nullptr) bits.finish();
  }
}

template <class V>
void fake_quantize(const FakeQuantParams& params, int64_t row_begin, int64_t row_end) {
  check_packing(params.matrix, params.packed_codes);
  dispatch_grid(params.matrix, [&](auto element, auto scale, auto grid) {
    dispatch_dtype(params.output_dtype, [&](auto output) {
      fake_quantize_rows<V, typename decltype(element)::type, typename decltype(scale)::type,
                         typename decltype(grid)::type, typename decltype(output)::type>(
          params, row_begin, row_end);
    });
  });
}

template <class V>
void fake_quantize_backward(const FakeQuantBackwardParams& p, int64_t row_begin, int64_t row_end) {
  dispatch_grid(p.matrix, [&](auto element, auto scale, auto grid_tag) {
    using S = typename decltype(scale)::type;
    dispatch_gradients(p, element, [&](auto output_tag, auto input_tag) {
      using GradOutput = typename decltype(output_tag)::type;
      using GradInput = typename decltype(input_tag)::type;
      const GroupedMatrix m = p.matrix;
      const int64_t groups = m.cols / m.group_size;
      for (int64_t row = row_begin; row < row_end; ++row) {
        RowBitReader bits(p.in_range + row * mask_row_bytes(m.cols));
        for (int64_t g = 0; g < groups; ++g) {
          const auto grid = restore_grid(grid_tag, stored<S>(p.scales, row * groups + g), 0.0f);
          const int64_t first = row * m.cols + g * m.group_size;
          const GradOutput* grad_output = static_cast<const GradOutput*>(p.grad_output) + first;
          GradInput* grad_input = static_cast<GradInput*>(p.grad_input) + first;
          for_each_block<V>(m.group_size, [&](int64_t i, auto count) {
            const auto in_range = V::mask_from_bits(bits.take(count));
            store(grid.gradient(load<V>(grad_output + i, count), in_range), grad_input + i, count);
          });
        }
      }
    });
  });
}

template <class V, class Out, class S, class Grid>
void dequantize_rows(const DequantizeParams& p, Tag<Grid> grid_tag, int64_t row_begin,
                     int64_t row_end) {
  const GroupedMatrix m = p.matrix;
  const int64_t groups = m.cols / m.group_size;
  const V smallest(Grid::kMinCode);
  for (int64_t row = row_begin; row < row_end; ++row) {
    const int8_t* codes = offset(p.codes, row * m.cols);
    const uint8_t* packed_codes = offset(p.packed_codes, row * numerics::packed_row_bytes(m.cols));
    Out* output = static_cast<Out*>(p.output) + row * m.cols;
    for (int64_t g = 0; g < groups; ++g) {
      const int64_t index = row * groups + g;
      const Grid grid =
          restore_grid(grid_tag, stored<S>(p.scales, index), stored<S>(p.zeros, index));
      for_each_block<V>(m.group_size, [&](int64_t i, auto count) {
        const int64_t col = g * m.group_size + i;
        const V code = packed_codes == nullptr
                           ? load<V>(codes + col, count)
                           : add(load_nibbles<V>(packed_codes, col, count), smallest);
        store(grid.dequantize(code), output + col, count);
      });
    }
  }
}

template <class V>
void dequantize(const DequantizeParams& p, int64_t row_begin, int64_t row_end) {
  check_packing(p.matrix, p.packed_codes);
  dispatch_grid(p.matrix, [&](auto element, auto scale, auto grid_tag) {
    dispatch_dequantized(p, element, [&](auto output) {
      dequantize_rows<V, typename decltype(output)::type, typename decltype(scale)::type>(
          p, grid_tag, row_begin, row_end);
    });
  });
}

template <class V>
constexpr CpuKernels simd_kernels() {
  return {fake_quantize<V>, fake_quantize_backward<V>, dequantize<V>};
}

}  // namespace nibble::kernels::cpu
