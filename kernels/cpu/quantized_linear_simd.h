#pragma once

#include <cstring>
#include <type_traits>

#include "../grid_dispatch.h"
#include "cpu_kernels.h"
#include "fake_quant_simd.h"

/// The weight-only Linear for few tokens over one set of instructions W (lookup_*.h). A weight is
/// not computed but looked up: the sixteen values of a group fill a register, its codes index them.
///
/// Whatever is instantiated here must depend on W or be always inlined, see host_device.h.
namespace nibble::kernels::cpu {

/// The input in the order in which codes are looked up: of every W::kBlock columns the even ones,
/// then the odd ones. Columns beyond the last are 0.
template <class W, class D>
NIBBLE_HD void arrange_input(const D* input, int64_t cols, typename W::Element* arranged) {
  int64_t col = 0;
  for (; col + W::kBlock <= cols; col += W::kBlock) W::arrange(input + col, arranged + col);
  if (col < cols) {
    D block[W::kBlock];
    for (int64_t i = 0; i < W::kBlock; ++i) block[i] = col + i < cols ? input[col + i] : D(0.0f);
    W::arrange(block, arranged + col);
  }
}

template <class V, class S>
NIBBLE_HD void convert_to_floats(const void* source, int64_t first, int64_t count, float* target) {
  const S* values = static_cast<const S*>(source) + first;
  int64_t i = 0;
  for (; i + V::kLanes <= count; i += V::kLanes) V::load(values + i).store(target + i);
  for (; i < count; ++i) target[i] = static_cast<float>(values[i]);
}

/// The values of codes, less the smallest one, of the group with these parameters: exact in D, or
/// left to W::make_table() to round.
template <class W, class D, class S, class Grid>
NIBBLE_HD auto values_of_group(Tag<Grid> grid, float scale, float zero) {
  using V = typename W::Floats;
  return [=](V numbers) {
    const V codes = add(numbers, V(Grid::kMinCode));
    // The product is all that is left to do where W rounds: rounding twice to one type is once.
    if constexpr (W::kRounds && std::is_same_v<Grid, numerics::SymmetricInt4<D, S>>) {
      return numerics::SymmetricInt4<float, S>::from_scale(scale).dequantize(codes);
    } else {
      return restore_grid(grid, scale, zero).dequantize(codes);
    }
  };
}

/// One row of the weight; `table_of(groups...)` looks up the codes of the groups of a block.
template <class TableOf>
struct PackedRow {
  const uint8_t* codes;
  int64_t cols;
  int64_t group_size;
  TableOf table_of;
};

/// Which group the next columns belong to, a share of a block at a time.
template <class W>
class GroupCounter {
 public:
  NIBBLE_HD explicit GroupCounter(int64_t group_size) : group_size_(group_size), left_(group_size) {}
  NIBBLE_HD int64_t next() {
    const int64_t current = group_;
    left_ -= W::kBlock / W::kGroupsInTable;
    if (left_ == 0) {
      ++group_;
      left_ = group_size_;
    }
    return current;
  }

 private:
  int64_t group_size_;
  int64_t left_;
  int64_t group_ = 0;
};

/// The products of a row with kTokens tokens, `token_size` elements of `input` apart.
template <class W, int kTokens, class TableOf>
NIBBLE_HD void multiply_row(const PackedRow<TableOf>& row, const typename W::Element* input,
                            int64_t token_size, float (&products)[kTokens]) {
  typename W::Sum even[kTokens], odd[kTokens];
#pragma GCC unroll 8
  for (int t = 0; t < kTokens; ++t) even[t] = odd[t] = W::zero();
  GroupCounter<W> groups(row.group_size);
  int64_t table_first = 0, table_second = 0;
  auto table = row.table_of(0, 0);
  for (int64_t col = 0; col < row.cols; col += W::kBlock) {
    const bool is_whole = col + W::kBlock <= row.cols;
    const int64_t first = groups.next();
    const int64_t second = W::kGroupsInTable > 1 && is_whole ? groups.next() : first;
    if (first != table_first || second != table_second) {
      table = row.table_of(first, second);
      table_first = first;
      table_second = second;
    }
    const auto codes = W::load_codes(row.codes + col / 2, is_whole);
    const auto even_weights = W::look_up_even(table, codes);
    const auto odd_weights = W::look_up_odd(table, codes);
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) {
      const typename W::Element* block = input + t * token_size + col;
      even[t] = W::multiply_add(even_weights, block, even[t]);
      odd[t] = W::multiply_add(odd_weights, block + W::kBlock / 2, odd[t]);
    }
  }
#pragma GCC unroll 8
  for (int t = 0; t < kTokens; ++t) products[t] = W::sum_of_lanes(even[t], odd[t]);
}

/// Tokens from `token` on: kTokens at a time, what is left with one call of the right size.
template <class W, class D, int kTokens, class TableOf>
NIBBLE_HD void multiply_tokens(const PackedRow<TableOf>& row, const typename W::Element* input,
                               int64_t token_size, int64_t token, const QuantizedLinearParams& p,
                               int64_t row_index) {
  for (; token + kTokens <= p.tokens; token += kTokens) {
    float products[kTokens];
    multiply_row<W, kTokens>(row, input + token * token_size, token_size, products);
    for (int t = 0; t < kTokens; ++t) {
      static_cast<D*>(p.output)[(token + t) * p.weight.rows + row_index] = D(products[t]);
    }
  }
  if constexpr (kTokens > 1) {
    if (token < p.tokens) {
      multiply_tokens<W, D, kTokens - 1>(row, input, token_size, token, p, row_index);
    }
  }
}

template <class W, class D, class S, class Grid>
void quantized_linear_rows(const QuantizedLinearParams& p, Tag<Grid> grid, int64_t row_begin,
                           int64_t row_end, void* scratch) {
  using Element = typename W::Element;
  using V = typename W::Floats;
  const GroupedMatrix& m = p.weight;
  const int64_t groups = m.cols / m.group_size;
  const int64_t token_size = (m.cols + W::kBlock - 1) / W::kBlock * W::kBlock;
  Element* input = static_cast<Element*>(scratch);
  float* scales = reinterpret_cast<float*>(input + p.tokens * token_size);
  float* zeros = p.zeros == nullptr ? scales : scales + groups;  // the symmetric grid ignores them
  for (int64_t token = 0; token < p.tokens; ++token) {
    arrange_input<W>(static_cast<const D*>(p.input) + token * m.cols, m.cols,
                     input + token * token_size);
  }
  const auto values_of = [&](int64_t group) {
    return values_of_group<W, D, S>(grid, scales[group], zeros[group]);
  };
  const auto table_of = [&](int64_t first, int64_t second) {
    if constexpr (W::kGroupsInTable > 1) {
      return W::make_table(values_of(first), values_of(second));
    } else {
      return W::make_table(values_of(first));
    }
  };
  for (int64_t row = row_begin; row < row_end; ++row) {
    convert_to_floats<V, S>(p.scales, row * groups, groups, scales);
    if (p.zeros != nullptr) convert_to_floats<V, S>(p.zeros, row * groups, groups, zeros);
    const uint8_t* codes = p.packed_codes + row * numerics::packed_row_bytes(m.cols);
    multiply_tokens<W, D, W::kTokens>(PackedRow{codes, m.cols, m.group_size, table_of}, input,
                                      token_size, 0, p, row);
  }
}

template <class W>
void quantized_linear(const QuantizedLinearParams& p, int64_t row_begin, int64_t row_end,
                      void* scratch) {
  dispatch_grid(p.weight, [&](auto element, auto scale, auto grid) {
    using D = typename decltype(element)::type;
    using Grid = typename decltype(grid)::type;
    constexpr bool kIsInt4 = Grid::kMaxCode - Grid::kMinCode < 16;
    if constexpr (kIsInt4 && (!W::kRounds || std::is_same_v<D, typename W::Element>)) {
      quantized_linear_rows<W, D, typename decltype(scale)::type>(p, grid, row_begin, row_end,
                                                                  scratch);
    } else if constexpr (kIsInt4) {
      fail_unknown_dtype(p.weight.dtype);
    } else {
      fail_unknown_grid(p.weight.grid);
    }
  });
}

}  // namespace nibble::kernels::cpu
