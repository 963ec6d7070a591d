#pragma once

#include <cstring>

#include "../grid_dispatch.h"
#include "cpu_kernels.h"
#include "row_bits.h"

/// The CPU kernels over one SIMD register type V (simd_avx2.h, simd_avx512.h): the same loops, and
/// the formulas of numerics/grids.h, for every instruction set. A group is read twice, the second
/// time from the L1 cache: once for its extremes, once to quantize.
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

template <class V, class Grid, class D>
NIBBLE_HD Grid choose_grid(const D* values, int64_t size) {
  V lowest(static_cast<float>(values[0]));
  V highest = lowest;
  for_each_block<V>(size, [&](int64_t i, auto count) {
    const V value = load<V>(values + i, count);
    lowest = nan_min(value, lowest);
    highest = nan_max(value, highest);
  });
  return Grid::choose(reduce_min(lowest), reduce_max(highest));
}

template <class T>
NIBBLE_HD T* offset(T* base, int64_t elements) {
  return base == nullptr ? nullptr : base + elements;
}

template <class S>
NIBBLE_HD float stored(const void* values, int64_t index) {
  return values == nullptr ? 0.0f : static_cast<float>(static_cast<const S*>(values)[index]);
}

template <class V, class Grid, class D, class Out>
NIBBLE_HD void fake_quantize_group(const Grid& grid, int64_t size, const D* input, Out* output,
                                   int8_t* codes, RowBitWriter* bits) {
  for_each_block<V>(size, [&](int64_t i, auto count) {
    const auto [code, in_range] = numerics::quantize(grid, load<V>(input + i, count));
    if (output != nullptr) store(grid.dequantize(code), output + i, count);
    if (codes != nullptr) store(code, codes + i, count);
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
    RowBitWriter bits(offset(p.in_range, row * mask_row_bytes(m.cols)));
    for (int64_t g = 0; g < groups; ++g) {
      const int64_t first = g * m.group_size;
      const Grid grid = choose_grid<V, Grid>(input + first, m.group_size);
      if (p.scales != nullptr) static_cast<S*>(p.scales)[row * groups + g] = S(grid.scale);
      if (p.zeros != nullptr) static_cast<S*>(p.zeros)[row * groups + g] = S(grid.zero());
      fake_quantize_group<V>(grid, m.group_size, input + first, offset(output, first),
                             offset(codes, first), p.in_range == nullptr ? nullptr : &bits);
    }
    if (p.in_range != nullptr) bits.finish();
  }
}

template <class V>
void fake_quantize(const FakeQuantParams& params, int64_t row_begin, int64_t row_end) {
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

template <class V>
void dequantize(const DequantizeParams& p, int64_t row_begin, int64_t row_end) {
  dispatch_grid(p.matrix, [&](auto element, auto scale, auto grid_tag) {
    using D = typename decltype(element)::type;
    using S = typename decltype(scale)::type;
    const GroupedMatrix m = p.matrix;
    const int64_t groups = m.cols / m.group_size;
    for (int64_t group = row_begin * groups; group < row_end * groups; ++group) {
      const auto grid =
          restore_grid(grid_tag, stored<S>(p.scales, group), stored<S>(p.zeros, group));
      const int8_t* codes = p.codes + group * m.group_size;
      D* output = static_cast<D*>(p.output) + group * m.group_size;
      for_each_block<V>(m.group_size, [&](int64_t i, auto count) {
        store(grid.dequantize(load<V>(codes + i, count)), output + i, count);
      });
    }
  });
}

template <class V>
constexpr CpuKernels simd_kernels() {
  return {fake_quantize<V>, fake_quantize_backward<V>, dequantize<V>};
}

}  // namespace nibble::kernels::cpu
