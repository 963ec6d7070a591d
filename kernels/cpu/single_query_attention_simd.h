#pragma once

#include "../grid_dispatch.h"
#include "cpu_kernels.h"
#include "decoder_loops.h"
#include "simd_exp.h"

/// Attention of one query a row over one SIMD register type V (simd_*.h).
///
/// Whatever is instantiated here must depend on V or be always inlined, see host_device.h.
namespace nibble::kernels::cpu {

/// scale q k^T of V::kLanes keys. `query` is already scaled.
template <class V, class D>
NIBBLE_HD V score_keys(const float* query, const D* keys, int64_t head_dim) {
  typename V::Stored products[V::kLanes];
  for (int64_t k = 0; k < V::kLanes; ++k) {
    const D* key = keys + k * head_dim;
    V sum = multiply(V::load(query), V::load(key));
    for (int64_t i = V::kLanes; i < head_dim; i += V::kLanes) {
      sum = fused_multiply_add(V::load(query + i), V::load(key + i), sum);
    }
    sum.store(products[k].values);
  }
  return reduce_each(
      products, [](V a, V b) __attribute__((always_inline)) { return add(a, b); });
}

/// One score, for the keys that fill no register.
template <class V, class D>
NIBBLE_HD float score_key(const float* query, const D* key, int64_t head_dim) {
  V sum(0.0f);
  for (int64_t i = 0; i < head_dim; i += V::kLanes) {
    sum = fused_multiply_add(V::load(query + i), V::load(key + i), sum);
  }
  return reduce_sum(sum);
}

/// The scores of all keys, bias included; returns the largest.
template <class V, class D>
NIBBLE_HD float score(const SingleQueryAttentionParams& p, const float* query, const D* key,
                      const D* bias, float* scores) {
  int64_t k = 0;
  for (; k + V::kLanes <= p.keys; k += V::kLanes) {
    score_keys<V>(query, key + k * p.head_dim, p.head_dim).store(scores + k);
  }
  for (; k < p.keys; ++k) scores[k] = score_key<V>(query, key + k * p.head_dim, p.head_dim);
  if (bias != nullptr) {
    for (k = 0; k < p.keys; ++k) scores[k] += static_cast<float>(bias[k]);
  }
  float largest = scores[0];
  for (k = 1; k < p.keys; ++k) largest = scores[k] > largest ? scores[k] : largest;
  return largest;
}

/// exp(score - largest) in place, with room for a whole register at the end; returns the sum.
template <class V>
NIBBLE_HD float exponentiate(float* scores, int64_t keys, float largest) {
  V sum(0.0f);
  for (int64_t k = 0; k < keys; k += V::kLanes) {
    V weights = exponential(subtract(V::load(scores + k), V(largest)));
    weights.store(scores + k);
    if (k + V::kLanes > keys) {
      for (int64_t i = keys; i < k + V::kLanes; ++i) scores[i] = 0.0f;
      weights = V::load(scores + k);
    }
    sum = add(sum, weights);
  }
  return reduce_sum(sum);
}

/// R_D(weights v / sum), kRegisters registers of it.
template <class V, int kRegisters, class D>
NIBBLE_HD void mix_values(const SingleQueryAttentionParams& p, const float* weights, float sum,
                          const D* value, D* output) {
  V totals[kRegisters];
#pragma GCC unroll 4
  for (int r = 0; r < kRegisters; ++r) totals[r] = V(0.0f);
  for (int64_t k = 0; k < p.keys; ++k) {
    const V weight(weights[k]);
#pragma GCC unroll 4
    for (int r = 0; r < kRegisters; ++r) {
      const V values = V::load(value + k * p.head_dim + r * V::kLanes);
      totals[r] = fused_multiply_add(weight, values, totals[r]);
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < kRegisters; ++r) {
    round_to<D>(multiply(totals[r], V(1.0f / sum))).store(output + r * V::kLanes);
  }
}

template <class V, class D>
NIBBLE_HD void attend_head(const SingleQueryAttentionParams& p, const D* query, const D* key,
                           const D* value, const D* bias, float* scratch, D* output) {
  constexpr int kRegisters = 4;
  float* scaled = scratch;
  float* scores = scratch + p.head_dim;
  for (int64_t i = 0; i < p.head_dim; i += V::kLanes) {
    multiply(V::load(query + i), V(p.scale)).store(scaled + i);
  }
  const float largest = score<V>(p, scaled, key, bias, scores);
  const float sum = exponentiate<V>(scores, p.keys, largest);
  int64_t i = 0;
  for (; i + kRegisters * V::kLanes <= p.head_dim; i += kRegisters * V::kLanes) {
    mix_values<V, kRegisters>(p, scores, sum, value + i, output + i);
  }
  for (; i < p.head_dim; i += V::kLanes) mix_values<V, 1>(p, scores, sum, value + i, output + i);
}

template <class V>
void single_query_attention(const SingleQueryAttentionParams& p, int64_t begin, int64_t end,
                            void* scratch) {
  dispatch_dtype(p.dtype, [&](auto element) {
    using D = typename decltype(element)::type;
    for_each_query<D>(
        p, begin, end,
        [&](const D* query, const D* key, const D* value, const D* bias, D* output)
            __attribute__((always_inline)) {
              attend_head<V>(p, query, key, value, bias, static_cast<float*>(scratch), output);
            });
  });
}

}  // namespace nibble::kernels::cpu
