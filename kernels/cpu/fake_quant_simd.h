#pragma once

#include "../grid_dispatch.h"
#include "cpu_kernels.h"
#include "grid_choice.h"
#include "row_bits.h"
#include "simd_blocks.h"

/// The CPU kernels over blocks V of one SIMD register type (simd_unrolled.h): the same loops, and
/// the formulas of numerics/grids.h, for every instruction set. A group is read twice, the second
/// time from the cache: once to choose its grid, once to quantize.
///
/// Whatever is instantiated here must depend on V or be always inlined, see host_device.h.
namespace nibble::kernels::cpu {

template <class T>
NIBBLE_HD T* offset(T* base, int64_t elements) {
  return base == nullptr ? nullptr : base + elements;
}

/// The values of an int4 group's codes: there are sixteen, so looking them up costs less than the
/// formula for each element.
template <class V, class D, class Out, class Grid>
NIBBLE_HD typename V::Table values_of_codes(const Grid& grid) {
  return typename V::Table([&](auto nibbles) __attribute__((always_inline)) {
    const auto codes = add(nibbles, decltype(nibbles)(Grid::kMinCode));
    return numerics::convert<D, Out>(grid.dequantize(codes));
  });
}

template <class V, class Grid, class D, class Out>
NIBBLE_HD void fake_quantize_group(const Grid& grid, int64_t first, int64_t size, const D* input,
                                   Out* output, int8_t* codes, uint8_t* packed_codes,
                                   RowBitWriter& bits) {
  const auto quantize_blocks = [&](const auto& write_values) __attribute__((always_inline)) {
    for_each_block<V>(
        size, [&](int64_t i, auto count) __attribute__((always_inline)) {
          const int64_t col = first + i;
          const auto [code, in_range] = numerics::quantize(grid, load<V>(input + col, count));
          if (output != nullptr) prefetch_to_write<V>(output + col);
          write_values(code, col, count);
          if (codes != nullptr) store(code, codes + col, count);
          bits.append(V::bits_of(in_range), count);
        });
  };
  if constexpr (kIsInt4<Grid>) {
    const auto values = values_of_codes<V, D, Out>(grid);
    quantize_blocks([&](V code, int64_t col, auto count) __attribute__((always_inline)) {
      const auto nibbles = code.to_nibbles(static_cast<int>(Grid::kMinCode));
      if (output != nullptr) {
        V value = values[nibbles];
        // The code of 0 is NaN where the inverse overflowed; else NaN makes a scale NaN as well.
        if constexpr (Grid::kInverseMayOverflow) value = select(is_nan(code), code, value);
        store(value, output + col, count);
      }
      if (packed_codes != nullptr) store_nibbles<V>(nibbles, packed_codes, col, count);
    });
  } else {
    quantize_blocks([&](V code, int64_t col, auto count) __attribute__((always_inline)) {
      if (output != nullptr) {
        store(numerics::convert<D, Out>(grid.dequantize(code)), output + col, count);
      }
    });
  }
}

/// How many groups to take at a time: a batch is read twice, the second time from the cache.
template <class D, class Batch>
NIBBLE_HD int64_t groups_at_a_time(int64_t group_size) {
  constexpr int64_t kCachedBytes = 128 * 1024;
  const int64_t groups = kCachedBytes / (group_size * int64_t{sizeof(D)});
  return groups < 1 ? 1 : groups < Batch::kGroups ? groups : Batch::kGroups;
}

/// Calls body(row, groups) for each row; rows without a gap between them are one long row, so that
/// batches of groups do not end with each.
template <class Body>
NIBBLE_HD void for_each_run(const GroupedMatrix& m, bool dense, int64_t row_begin, int64_t row_end,
                            Body&& body) {
  const int64_t groups = m.cols / m.group_size;
  const int64_t rows = dense && m.cols % 8 == 0 ? row_end - row_begin : 1;
  for (int64_t row = row_begin; row < row_end; row += rows) body(row, rows * groups);
}

template <class V, class D, class S, class Grid, class Out>
void fake_quantize_rows(const FakeQuantParams& p, int64_t row_begin, int64_t row_end) {
  const GroupedMatrix m = p.matrix;
  const auto run = [&](int64_t row, int64_t groups) __attribute__((always_inline)) {
    const D* input = static_cast<const D*>(p.input) + row * p.input_row_stride;
    Out* output = offset(static_cast<Out*>(p.output), row * m.cols);
    int8_t* codes = offset(p.codes, row * m.cols);
    uint8_t* packed_codes = offset(p.packed_codes, row * numerics::packed_row_bytes(m.cols));
    const int64_t first_group = row * (m.cols / m.group_size);
    S* scales = offset(static_cast<S*>(p.scales), first_group);
    S* zeros = offset(static_cast<S*>(p.zeros), first_group);
    RowBitWriter bits(offset(p.in_range, row * mask_row_bytes(m.cols)));

    using Batch = GridBatch<V, Grid>;
    const int64_t step = groups_at_a_time<D, Batch>(m.group_size);
    for (int64_t begin = 0; begin < groups; begin += step) {
      const int64_t end = begin + step < groups ? begin + step : groups;
      const auto grids = Batch::choose(input + begin * m.group_size, m.group_size, end - begin);
      grids.store(offset(scales, begin), offset(zeros, begin), end - begin);
      for (int64_t g = begin; g < end; ++g) {
        fake_quantize_group<V>(grids[g - begin], g * m.group_size, m.group_size, input, output,
                               codes, packed_codes, bits);
      }
    }
    bits.finish();
  };
  for_each_run(m, p.input_row_stride == m.cols, row_begin, row_end, run);
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

/// Calls body(group, grid) for the groups [0, groups) of stored parameters.
template <class V, class Grid, class S, class Body>
NIBBLE_HD void for_each_stored_grid(const S* scales, const S* zeros, int64_t groups, Body&& body) {
  using Batch = GridBatch<V, Grid>;
  for (int64_t begin = 0; begin < groups; begin += Batch::kGroups) {
    const int64_t end = begin + Batch::kGroups < groups ? begin + Batch::kGroups : groups;
    const Batch grids = Batch::restore(scales + begin, offset(zeros, begin), end - begin);
    for (int64_t g = begin; g < end; ++g) body(g, grids[g - begin]);
  }
}

template <class V, class D, class GradOutput, class GradInput, class S, class Grid>
void backward_rows(const FakeQuantBackwardParams& p, int64_t row_begin, int64_t row_end) {
  const GroupedMatrix m = p.matrix;
  for_each_run(
      m, true, row_begin, row_end, [&](int64_t row, int64_t groups) __attribute__((always_inline)) {
        const GradOutput* grad_output =
            static_cast<const GradOutput*>(p.grad_output) + row * m.cols;
        GradInput* grad_input = static_cast<GradInput*>(p.grad_input) + row * m.cols;
        const S* scales = static_cast<const S*>(p.scales) + row * (m.cols / m.group_size);
        RowBitReader bits(p.in_range + row * mask_row_bytes(m.cols));
        const S* no_zeros = nullptr;  // a zero point has no gradient
        for_each_stored_grid<V, Grid>(
            scales, no_zeros,
            groups, [&](int64_t g, const Grid& grid) __attribute__((always_inline)) {
              const int64_t first = g * m.group_size;
              for_each_block<V>(
                  m.group_size, [&](int64_t i, auto count) __attribute__((always_inline)) {
                    const int64_t col = first + i;
                    prefetch_to_read<V>(grad_output + col);
                    prefetch_to_write<V>(grad_input + col);
                    const auto in_range = V::mask_from_bits(bits.take(count));
                    const V gradient = grid.gradient(load<V>(grad_output + col, count), in_range);
                    store(numerics::convert<D, GradInput>(gradient), grad_input + col, count);
                  });
            });
      });
}

template <class V>
void fake_quantize_backward(const FakeQuantBackwardParams& p, int64_t row_begin, int64_t row_end) {
  dispatch_grid(p.matrix, [&](auto element, auto scale, auto grid) {
    dispatch_gradients(p, element, [&](auto grad_output, auto grad_input) {
      backward_rows<V, typename decltype(element)::type, typename decltype(grad_output)::type,
                    typename decltype(grad_input)::type, typename decltype(scale)::type,
                    typename decltype(grid)::type>(p, row_begin, row_end);
    });
  });
}

template <class V, class D, class Out, class S, class Grid>
void dequantize_rows(const DequantizeParams& p, int64_t row_begin, int64_t row_end) {
  const GroupedMatrix m = p.matrix;
  for_each_run(
      m, true, row_begin, row_end, [&](int64_t row, int64_t groups) __attribute__((always_inline)) {
        const int8_t* codes = offset(p.codes, row * m.cols);
        const uint8_t* packed_codes =
            offset(p.packed_codes, row * numerics::packed_row_bytes(m.cols));
        Out* output = static_cast<Out*>(p.output) + row * m.cols;
        const int64_t first_group = row * (m.cols / m.group_size);
        const S* scales = static_cast<const S*>(p.scales) + first_group;
        const S* zeros = offset(static_cast<const S*>(p.zeros), first_group);
        for_each_stored_grid<V, Grid>(
            scales, zeros, groups, [&](int64_t g, const Grid& grid) __attribute__((always_inline)) {
              const auto each_block = [&](const auto& value_at) __attribute__((always_inline)) {
                for_each_block<V>(
                    m.group_size, [&](int64_t i, auto count) __attribute__((always_inline)) {
                      const int64_t col = g * m.group_size + i;
                      prefetch_to_write<V>(output + col);
                      store(value_at(col, count), output + col, count);
                    });
              };
              if constexpr (kIsInt4<Grid>) {
                if (packed_codes != nullptr) {
                  const auto values = values_of_codes<V, D, Out>(grid);
                  each_block([&](int64_t col, auto count) __attribute__((always_inline)) {
                    return values[load_nibbles<V>(packed_codes, col, count)];
                  });
                  return;
                }
              }
              each_block([&](int64_t col, auto count) __attribute__((always_inline)) {
                return numerics::convert<D, Out>(grid.dequantize(load<V>(codes + col, count)));
              });
            });
      });
}

template <class V>
void dequantize(const DequantizeParams& p, int64_t row_begin, int64_t row_end) {
  check_packing(p.matrix, p.packed_codes);
  dispatch_grid(p.matrix, [&](auto element, auto scale, auto grid) {
    dispatch_dequantized(p, element, [&](auto output) {
      dequantize_rows<V, typename decltype(element)::type, typename decltype(output)::type,
                      typename decltype(scale)::type, typename decltype(grid)::type>(p, row_begin,
                                                                                     row_end);
    });
  });
}

template <class V>
constexpr CpuKernels simd_kernels() {
  return {fake_quantize<V>, fake_quantize_backward<V>, dequantize<V>};
}

}  // namespace nibble::kernels::cpu
