#pragma once

#include <cstring>

#include "../grid_dispatch.h"
#include "cpu_kernels.h"
#include "prefetch.h"

/// The Linear with int8 rows for few tokens over one SIMD register type V (simd_*.h).
///
/// Whatever is instantiated here must depend on V or be always inlined, see host_device.h.
namespace nibble::kernels::cpu {

/// The tokens as floats, `padded` apart, zeros behind the last column.
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

/// `count` codes, at most a register of them; zeros behind the last one.
template <class V>
NIBBLE_HD V load_codes(const int8_t* source, int64_t count) {
  if (count >= V::kLanes) return V::load(source);
  int8_t codes[V::kLanes] = {};
  memcpy(codes, source, static_cast<size_t>(count));
  return V::load(codes);
}

/// The products of a group of `cols` columns with kTokens tokens, a lane's share in each lane,
/// before the group's scale.
template <class V, int kTokens>
NIBBLE_HD void multiply_int8_group(const int8_t* codes, int64_t cols, const float* input,
                                   int64_t padded, V (&products)[kTokens]) {
  // Sums that do not wait for each other: the latency of a fused multiply-add is four of them.
  constexpr int kChains = kTokens < 4 ? 4 / kTokens : 1;
  V sums[kTokens][kChains];
#pragma GCC unroll 4
  for (int t = 0; t < kTokens; ++t) {
#pragma GCC unroll 4
    for (int chain = 0; chain < kChains; ++chain) sums[t][chain] = V(0.0f);
  }
  const auto multiply_block = [&](int64_t col, int chain) __attribute__((always_inline)) {
    const V block = load_codes<V>(codes + col, cols - col);
#pragma GCC unroll 4
    for (int t = 0; t < kTokens; ++t) {
      V& sum = sums[t][chain];
      sum = fused_multiply_add(block, V::load(input + t * padded + col), sum);
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
    products[t] = sums[t][0];
#pragma GCC unroll 4
    for (int chain = 1; chain < kChains; ++chain) products[t] = add(products[t], sums[t][chain]);
  }
}

/// A group of exactly kRegisters registers, whose sums are short enough to need no chains.
template <class V, int kRegisters, int kTokens>
NIBBLE_HD void multiply_int8_registers(const int8_t* codes, const float* input, int64_t padded,
                                       V (&products)[kTokens]) {
#pragma GCC unroll 4
  for (int i = 0; i < kRegisters; ++i) {
    const V block = V::load(codes + i * V::kLanes);
#pragma GCC unroll 4
    for (int t = 0; t < kTokens; ++t) {
      const V values = V::load(input + t * padded + i * V::kLanes);
      products[t] =
          i == 0 ? multiply(block, values) : fused_multiply_add(block, values, products[t]);
    }
  }
}

/// Row `row` for kTokens tokens from `input` on: the outputs before rounding.
template <class V, int kTokens>
NIBBLE_HD void multiply_int8_row(const Int8WeightLinearParams& p, int64_t row, const float* input,
                                 int64_t padded, float (&outputs)[kTokens]) {
  constexpr int kGgmlRegisters = 32 / V::kLanes;  // groups of 32 are those of GGUF's Q8_0
  const int64_t cols = p.cols / p.groups;
  V sums[kTokens];
#pragma GCC unroll 4
  for (int t = 0; t < kTokens; ++t) sums[t] = V(0.0f);
  const float* scales = p.scales + row * p.groups;
  for (int64_t group = 0; group < p.groups; group += kCacheLine / int64_t{sizeof(float)}) {
    prefetch_weights(scales + group + kWeightsAhead / int64_t{sizeof(float)});
  }
  for (int64_t col = 0; col < p.cols; col += kCacheLine) {
    prefetch_weights(p.codes + row * p.cols + col + kWeightsAhead);
  }
  for (int64_t group = 0; group < p.groups; ++group) {
    const int8_t* codes = p.codes + row * p.cols + group * cols;
    const float* values = input + group * cols;
    V products[kTokens];
    if (cols == kGgmlRegisters * V::kLanes) {
      multiply_int8_registers<V, kGgmlRegisters>(codes, values, padded, products);
    } else {
      multiply_int8_group<V>(codes, cols, values, padded, products);
    }
    const V scale(scales[group]);
#pragma GCC unroll 4
    for (int t = 0; t < kTokens; ++t) sums[t] = fused_multiply_add(products[t], scale, sums[t]);
  }
#pragma GCC unroll 4
  for (int t = 0; t < kTokens; ++t) outputs[t] = reduce_sum(sums[t]);
}

/// Tokens from `token` on: kTokens at a time, what is left with one call of the right size.
template <class V, class D, int kTokens = 4>
NIBBLE_HD void multiply_int8_tokens(const Int8WeightLinearParams& p, const float* input,
                                    int64_t padded, int64_t row, int64_t token) {
  for (; token + kTokens <= p.tokens; token += kTokens) {
    float outputs[kTokens];
    multiply_int8_row<V>(p, row, input + token * padded, padded, outputs);
    for (int t = 0; t < kTokens; ++t) {
      static_cast<D*>(p.output)[(token + t) * p.rows + row] = D(outputs[t]);
    }
  }
  if constexpr (kTokens > 1) {
    if (token < p.tokens) multiply_int8_tokens<V, D, kTokens - 1>(p, input, padded, row, token);
  }
}

template <class V>
void int8_weight_linear(const Int8WeightLinearParams& p, int64_t row_begin, int64_t row_end,
                        void* scratch) {
  // A group may end within a register, whose other lanes meet codes of 0.
  const int64_t padded = (p.cols + V::kLanes - 1) / V::kLanes * V::kLanes + V::kLanes;
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
