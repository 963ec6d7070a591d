#pragma once

#include <cstring>

#include "../grid_dispatch.h"
#include "cpu_kernels.h"

/// The Linear with int8 rows for few tokens over one SIMD register type V (simd_*.h).
///
/// Whatever is instantiated here must depend on V or be always inlined, see host_device.h.
namespace nibble::kernels::cpu {

/// The tokens as floats, a whole number of registers each, zeros behind the last column.
template <class V, class D>
NIBBLE_HD void widen_input(const Int8WeightLinearParams& p, int64_t padded, float* target) {
  for (int64_t token = 0; token < p.tokens; ++token) {
    const D* input = static_cast<const D*>(p.input) + token * p.cols;
    float* values = target + token * padded;
    int64_t col = 0;
    for (; col + V::kLanes <= p.cols; col += V::kLanes) V::load(input + col).store(values + col);
    for (; col < padded; ++col) values[col] = col < p.cols ? static_cast<float>(input[col]) : 0.0f;
  }
}

/// Codes of `row` from `col` on, zeros behind the last column.
template <class V>
NIBBLE_HD V load_codes(const int8_t* row, int64_t col, int64_t cols) {
  if (col + V::kLanes <= cols) return V::load(row + col);
  int8_t codes[V::kLanes] = {};
  memcpy(codes, row + col, static_cast<size_t>(cols - col));
  return V::load(codes);
}

/// The products of a row with kTokens tokens, before the row's scale.
template <class V, int kTokens>
NIBBLE_HD void multiply_int8_row(const int8_t* row, int64_t cols, const float* input,
                                 int64_t padded, float (&products)[kTokens]) {
  // Sums that do not wait for each other: the latency of a fused multiply-add is four of them.
  constexpr int kChains = kTokens < 4 ? 4 / kTokens : 1;
  V sums[kTokens][kChains];
#pragma GCC unroll 4
  for (int t = 0; t < kTokens; ++t) {
#pragma GCC unroll 4
    for (int chain = 0; chain < kChains; ++chain) sums[t][chain] = V(0.0f);
  }
  const auto multiply_block = [&](int64_t col, int chain) __attribute__((always_inline)) {
    const V codes = load_codes<V>(row, col, cols);
#pragma GCC unroll 4
    for (int t = 0; t < kTokens; ++t) {
      V& sum = sums[t][chain];
      sum = fused_multiply_add(codes, V::load(input + t * padded + col), sum);
    }
  };
  int64_t col = 0;
  for (; col + kChains * V::kLanes <= cols; col += kChains * V::kLanes) {
#pragma GCC unroll 4
    for (int chain = 0; chain < kChains; ++chain) multiply_block(col + chain * V::kLanes, chain);
  }
  for (; col < cols; col += V::kLanes) multiply_block(col, 0);
#pragma GCC unroll 4
  for (int t = 0; t < kTokens; ++t) {
    V sum = sums[t][0];
#pragma GCC unroll 4
    for (int chain = 1; chain < kChains; ++chain) sum = add(sum, sums[t][chain]);
    products[t] = reduce_sum(sum);
  }
}

/// Tokens from `token` on: kTokens at a time, what is left with one call of the right size.
template <class V, class D, int kTokens = 4>
NIBBLE_HD void multiply_int8_tokens(const Int8WeightLinearParams& p, const float* input,
                                    int64_t padded, int64_t row, int64_t token) {
  for (; token + kTokens <= p.tokens; token += kTokens) {
    float products[kTokens];
    multiply_int8_row<V>(p.codes + row * p.cols, p.cols, input + token * padded, padded, products);
    for (int t = 0; t < kTokens; ++t) {
      static_cast<D*>(p.output)[(token + t) * p.rows + row] = D(products[t] * p.scales[row]);
    }
  }
  if constexpr (kTokens > 1) {
    if (token < p.tokens) multiply_int8_tokens<V, D, kTokens - 1>(p, input, padded, row, token);
  }
}

template <class V>
void int8_weight_linear(const Int8WeightLinearParams& p, int64_t row_begin, int64_t row_end,
                        void* scratch) {
  const int64_t padded = (p.cols + V::kLanes - 1) / V::kLanes * V::kLanes;
  float* input = static_cast<float*>(scratch);
  dispatch_dtype(p.dtype, [&](auto element) {
    using D = typename decltype(element)::type;
    widen_input<V, D>(p, padded, input);
    for (int64_t row = row_begin; row < row_end; ++row) {
      multiply_int8_tokens<V, D>(p, input, padded, row, 0);
    }
  });
}

}  // namespace nibble::kernels::cpu
