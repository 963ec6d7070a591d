#include "fake_quant.h"

#include <nibble/numerics/pack_int4.h>

#include <algorithm>
#include <cmath>

#include "../grid_dispatch.h"

namespace nibble::kernels::reference {
namespace {

using numerics::nan_max;
using numerics::nan_min;

/// Pointers into one group of columns of one row; null where the caller wants nothing.
template <class D, class Out>
struct GroupView {
  const D* input;
  Out* output;
  int8_t* codes;
  uint8_t* packed_row;
  uint8_t* row_bits;
  int64_t first_col;
  int64_t size;
};

template <class Grid, class D>
Grid choose_grid(const D* values, int64_t size) {
  float lowest = static_cast<float>(values[0]);
  float highest = lowest;
  for (int64_t i = 1; i < size; ++i) {
    const float value = static_cast<float>(values[i]);
    lowest = nan_min(value, lowest);
    highest = nan_max(value, highest);
  }
  return Grid::choose(lowest, highest);
}

void set_bit(uint8_t* row_bits, int64_t col, bool value) {
  uint8_t& byte = row_bits[col / 8];
  const auto bit = static_cast<uint8_t>(1u << (col % 8));
  byte = static_cast<uint8_t>(value ? byte | bit : byte & ~bit);
}

bool get_bit(const uint8_t* row_bits, int64_t col) { return (row_bits[col / 8] >> (col % 8)) & 1u; }

template <class Grid, class D, class Out>
void fake_quantize_group(const Grid& grid, const GroupView<D, Out>& group) {
  for (int64_t i = 0; i < group.size; ++i) {
    const auto [code, in_range] = numerics::quantize(grid, static_cast<float>(group.input[i]));
    if (group.output != nullptr) group.output[i] = Out(grid.dequantize(code));
    const int stored_code = std::isnan(code) ? 0 : static_cast<int>(code);
    const int64_t col = group.first_col + i;
    if (group.codes != nullptr) group.codes[i] = static_cast<int8_t>(stored_code);
    if (group.packed_row != nullptr) {
      numerics::set_nibble(group.packed_row, col, stored_code - static_cast<int>(Grid::kMinCode));
    }
    if (group.row_bits != nullptr) set_bit(group.row_bits, col, in_range);
  }
}

template <class T>
T* offset(T* base, int64_t elements) {
  return base == nullptr ? nullptr : base + elements;
}

template <class D, class S, class Grid, class Out>
void fake_quantize_rows(const FakeQuantParams& p, int64_t row_begin, int64_t row_end) {
  const auto& m = p.matrix;
  const int64_t groups = m.cols / m.group_size;
  for (int64_t row = row_begin; row < row_end; ++row) {
    const D* input = static_cast<const D*>(p.input) + row * p.input_row_stride;
    uint8_t* packed_row = offset(p.packed_codes, row * numerics::packed_row_bytes(m.cols));
    uint8_t* row_bits = offset(p.in_range, row * mask_row_bytes(m.cols));
    if (row_bits != nullptr) std::fill_n(row_bits, mask_row_bytes(m.cols), uint8_t{0});
    for (int64_t g = 0; g < groups; ++g) {
      const int64_t first = g * m.group_size;
      const Grid grid = choose_grid<Grid>(input + first, m.group_size);
      if (p.scales != nullptr) static_cast<S*>(p.scales)[row * groups + g] = S(grid.scale);
      if (p.zeros != nullptr) static_cast<S*>(p.zeros)[row * groups + g] = S(grid.zero());
      fake_quantize_group(
          grid, GroupView<D, Out>{input + first,
                                  offset(static_cast<Out*>(p.output), row * m.cols + first),
                                  offset(p.codes, row * m.cols + first), packed_row, row_bits,
                                  first, m.group_size});
    }
  }
}

template <class S>
float stored(const void* values, int64_t index) {
  return values == nullptr ? 0.0f : static_cast<float>(static_cast<const S*>(values)[index]);
}

}  // namespace

void fake_quantize(const FakeQuantParams& params, int64_t row_begin, int64_t row_end) {
  check_packing(params.matrix, params.packed_codes);
  dispatch_grid(params.matrix, [&](auto element, auto scale, auto grid) {
    dispatch_dtype(params.output_dtype, [&](auto output) {
      fake_quantize_rows<typename decltype(element)::type, typename decltype(scale)::type,
                         typename decltype(grid)::type, typename decltype(output)::type>(
          params, row_begin, row_end);
    });
  });
}

void fake_quantize_backward(const FakeQuantBackwardParams& p, int64_t row_begin, int64_t row_end) {
  const auto& m = p.matrix;
  const int64_t groups = m.cols / m.group_size;
  dispatch_grid(m, [&](auto element, auto scale, auto grid_tag) {
    using S = typename decltype(scale)::type;
    dispatch_gradients(p, element, [&](auto output_tag, auto input_tag) {
      using GradOutput = typename decltype(output_tag)::type;
      using GradInput = typename decltype(input_tag)::type;
      const auto* grad_output = static_cast<const GradOutput*>(p.grad_output);
      auto* grad_input = static_cast<GradInput*>(p.grad_input);
      for (int64_t row = row_begin; row < row_end; ++row) {
        const uint8_t* row_bits = p.in_range + row * mask_row_bytes(m.cols);
        for (int64_t g = 0; g < groups; ++g) {
          const auto grid = restore_grid(grid_tag, stored<S>(p.scales, row * groups + g), 0.0f);
          for (int64_t col = g * m.group_size; col < (g + 1) * m.group_size; ++col) {
            const int64_t index = row * m.cols + col;
            const float gradient = static_cast<float>(grad_output[index]);
            grad_input[index] = GradInput(grid.gradient(gradient, get_bit(row_bits, col)));
          }
        }
      }
    });
  });
}

void dequantize(const DequantizeParams& p, int64_t row_begin, int64_t row_end) {
  check_packing(p.matrix, p.packed_codes);
  const auto& m = p.matrix;
  const int64_t groups = m.cols / m.group_size;
  dispatch_grid(m, [&](auto element, auto scale, auto grid_tag) {
    using S = typename decltype(scale)::type;
    using Grid = typename decltype(grid_tag)::type;
    dispatch_dequantized(p, element, [&](auto output) {
      using Out = typename decltype(output)::type;
      for (int64_t row = row_begin; row < row_end; ++row) {
        const uint8_t* packed_row =
            offset(p.packed_codes, row * numerics::packed_row_bytes(m.cols));
        for (int64_t g = 0; g < groups; ++g) {
          const int64_t index = row * groups + g;
          const auto grid =
              restore_grid(grid_tag, stored<S>(p.scales, index), stored<S>(p.zeros, index));
          for (int64_t col = g * m.group_size; col < (g + 1) * m.group_size; ++col) {
            const int64_t at = row * m.cols + col;
            const float code =
                packed_row == nullptr
                    ? static_cast<float>(p.codes[at])
                    : static_cast<float>(numerics::nibble_at(packed_row, col)) + Grid::kMinCode;
            static_cast<Out*>(p.output)[at] = Out(grid.dequantize(code));
          }
        }
      }
    });
  });
}

}  // namespace nibble::kernels::reference
