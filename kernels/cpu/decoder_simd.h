#pragma once

#include "../grid_dispatch.h"
#include "cpu_kernels.h"
#include "decoder_loops.h"
#include "simd_exp.h"

/// The steps of kernels/decoder.h over one SIMD register type V (simd_*.h); attention is in
/// single_query_attention_simd.h.
///
/// Whatever is instantiated here must depend on V or be always inlined, see host_device.h.
namespace nibble::kernels::cpu {

template <class V, class D>
NIBBLE_HD float sum_of_squares(const D* input, int64_t cols) {
  constexpr int kChains = 4;
  V sums[kChains] = {V(0.0f), V(0.0f), V(0.0f), V(0.0f)};
  const auto add_block = [&](int64_t col, int chain) __attribute__((always_inline)) {
    const V values = V::load(input + col);
    sums[chain] = fused_multiply_add(values, values, sums[chain]);
  };
  int64_t col = 0;
  for (; col + kChains * V::kLanes <= cols; col += kChains * V::kLanes) {
#pragma GCC unroll 4
    for (int chain = 0; chain < kChains; ++chain) add_block(col + chain * V::kLanes, chain);
  }
  for (; col + V::kLanes <= cols; col += V::kLanes) add_block(col, 0);
  float sum = reduce_sum(add(add(sums[0], sums[1]), add(sums[2], sums[3])));
  for (; col < cols; ++col) {
    const float value = static_cast<float>(input[col]);
    sum += value * value;
  }
  return sum;
}

template <class V>
void rms_norm(const RmsNormParams& p, int64_t row_begin, int64_t row_end) {
  dispatch_dtype(p.dtype, [&](auto element) {
    using D = typename decltype(element)::type;
    const D* weight = static_cast<const D*>(p.weight);
    for (int64_t row = row_begin; row < row_end; ++row) {
      const D* input = static_cast<const D*>(p.input) + row * p.cols;
      D* output = static_cast<D*>(p.output) + row * p.cols;
      const float mean = sum_of_squares<V>(input, p.cols) / static_cast<float>(p.cols);
      const float inverse = 1.0f / __builtin_sqrtf(mean + p.eps);
      int64_t col = 0;
      for (; col + V::kLanes <= p.cols; col += V::kLanes) {
        const V factor = add(V(p.weight_offset), V::load(weight + col));
        const V normed = multiply(multiply(V::load(input + col), V(inverse)), factor);
        round_to<D>(normed).store(output + col);
      }
      for (; col < p.cols; ++col) {
        const float factor = p.weight_offset + static_cast<float>(weight[col]);
        output[col] = D(static_cast<float>(input[col]) * inverse * factor);
      }
    }
  });
}

/// One register of swiglu.
template <class V, class D>
NIBBLE_HD V swiglu_block(V gate, V up) {
  const V negated = multiply(gate, V(-1.0f));
  const V activated = divide(gate, add(V(1.0f), exponential(negated)));
  return round_to<D>(multiply(round_to<D>(activated), up));
}

template <class V>
void swiglu(const SwigluParams& p, int64_t begin, int64_t end) {
  dispatch_dtype(p.dtype, [&](auto element) {
    using D = typename decltype(element)::type;
    const D* gate = static_cast<const D*>(p.gate);
    const D* up = static_cast<const D*>(p.up);
    D* output = static_cast<D*>(p.output);
    int64_t i = begin;
    for (; i + V::kLanes <= end; i += V::kLanes) {
      swiglu_block<V, D>(V::load(gate + i), V::load(up + i)).store(output + i);
    }
    if (i == end) return;
    D last_gate[V::kLanes] = {}, last_up[V::kLanes] = {}, last[V::kLanes];
    for (int64_t k = i; k < end; ++k) {
      last_gate[k - i] = gate[k];
      last_up[k - i] = up[k];
    }
    swiglu_block<V, D>(V::load(last_gate), V::load(last_up)).store(last);
    for (int64_t k = i; k < end; ++k) output[k] = last[k - i];
  });
}

template <class V, class D>
NIBBLE_HD void rotate_head(const D* input, const D* cos, const D* sin, int64_t half, D* output) {
  int64_t i = 0;
  for (; i + V::kLanes <= half; i += V::kLanes) {
    const V first = V::load(input + i), second = V::load(input + half + i);
    const auto product = [](V a, const D* b) __attribute__((always_inline)) {
      return round_to<D>(multiply(a, V::load(b)));
    };
    round_to<D>(subtract(product(first, cos + i), product(second, sin + i))).store(output + i);
    round_to<D>(add(product(second, cos + half + i), product(first, sin + half + i)))
        .store(output + half + i);
  }
  rotate_elements(input, cos, sin, half, i, output);
}

template <class V>
void rotate(const RotaryParams& p, int64_t token_begin, int64_t token_end) {
  dispatch_dtype(p.dtype, [&](auto element) {
    using D = typename decltype(element)::type;
    for_each_head<D>(
        p, token_begin, token_end,
        [&](const D* input, const D* cos, const D* sin, D* output) __attribute__((always_inline)) {
          rotate_head<V>(input, cos, sin, p.rotary_dim / 2, output);
        });
  });
}

}  // namespace nibble::kernels::cpu
