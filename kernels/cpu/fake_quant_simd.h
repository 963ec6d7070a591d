#pragma once

#include "../grid_dispatch.h"
#include "cpu_kernels.h"
#include "grid_choice.h"
#include "row_bits.h"
#include "simd_blocks.h"

/// The CPU kernels over one SIMD register type V (simd_avx2.h, simd_avx512.h): the same loops, and
/// the formulas of numerics/grids.h, for every instruction set. A group is read twice, the second
/// time from the cache: once to choose its grid, once to quantize.
///
/// Whatever is instantiated here must depend on V or be always inlined, see host_device.h.
namespace nibble::kernels::cpu {

template <class T>
NIBBLE_HD T* offset(T* base, int64_t elements) {
  return base == nullptr ? nullptr : base + elements;
}

template <class S>
NIBBLE_HD float stored(const void* values, int64_t index) {
  return values == nullptr ? 0.0f : static_cast<float>(static_cast<const S*>(values)[index]);
}

template <class Grid>
constexpr bool kIsInt4 = Grid::kMaxCode - Grid::kMinCode == 15.0f;

/// The values of an int4 group's codes: there are sixteen, so looking them up costs less than the
/// formula for each element.
template <class V, class Grid>
NIBBLE_HD typename V::Table values_of_codes(const Grid& grid) {
  return typename V::Table(
      [&](V nibbles) { return grid.dequantize(add(nibbles, V(Grid::kMinCode))); });
}

template <class V, class Grid, class D, class Out>
NIBBLE_HD void fake_quantize_group(const Grid& grid, int64_t first, int64_t size, const D* input,
                                   Out* output, int8_t* codes, uint8_t* packed_codes,
                                   RowBitWriter* bits) {
  const auto quantize_blocks = [&](const auto& write_values) {
    for_each_block<V>(size, [&](int64_t i, auto count) {
      const int64_t col = first + i;
      const auto [code, in_range] = numerics::quantize(grid, load<V>(input + col, count));
      if (output != nullptr) prefetch_to_write(output + col);
      write_values(code, col, count);
      if (codes != nullptr) store(code, codes + col, count);
      if (bits != nullptr) bits->append(V::bits_of(in_range), count);
    });
  };
  if constexpr (kIsInt4<Grid>) {
    const auto values = values_of_codes<V>(grid);
    quantize_blocks([&](V code, int64_t col, auto count) {
      const auto nibbles = code.to_nibbles(static_cast<int>(Grid::kMinCode));
      // A NaN stays one: of a scale whose inverse is infinite it is the code of 0.
      if (output != nullptr) {
        store(select(is_nan(code), code, values[nibbles]), output + col, count);
      }
      if (packed_codes != nullptr) store_nibbles<V>(nibbles, packed_codes, col, count);
    });
  } else {
    quantize_blocks([&](V code, int64_t col, auto count) {
      if (output != nullptr) store(grid.dequantize(code), output + col, count);
    });
  }
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
            prefetch_to_read(grad_output + i);
            prefetch_to_write(grad_input + i);
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
  for (int64_t row = row_begin; row < row_end; ++row) {
    const int8_t* codes = offset(p.codes, row * m.cols);
    const uint8_t* packed_codes = offset(p.packed_codes, row * numerics::packed_row_bytes(m.cols));
    Out* output = static_cast<Out*>(p.output) + row * m.cols;
    for (int64_t g = 0; g < groups; ++g) {
      const int64_t index = row * groups + g;
      const Grid grid =
          restore_grid(grid_tag, stored<S>(p.scales, index), stored<S>(p.zeros, index));
      const auto each_block = [&](const auto& value_at) {
        for_each_block<V>(m.group_size, [&](int64_t i, auto count) {
          const int64_t col = g * m.group_size + i;
          prefetch_to_write(output + col);
          store(value_at(col, count), output + col, count);
        });
      };
      if constexpr (kIsInt4<Grid>) {
        if (packed_codes != nullptr) {
          const auto values = values_of_codes<V>(grid);
          each_block([&](int64_t col, auto count) {
            return values[load_nibbles<V>(packed_codes, col, count)];
          });
          continue;
        }
      }
      each_block(
          [&](int64_t col, auto count) { return grid.dequantize(load<V>(codes + col, count)); });
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
