#pragma once

#include "sums.cuh"

/// Softmax-weighted sums that grow key by key and can be merged: after any of both, `values` is
/// sum(exp(score - highest) value) and `weight` is sum(exp(score - highest)).
namespace nibble::kernels::cuda {

template <int elements>
struct OnlineSoftmax {
  float highest;
  float weight;
  float values[elements];

  __device__ static OnlineSoftmax of_nothing() {
    OnlineSoftmax result;
    result.highest = -__builtin_inff();
    result.weight = 0;
#pragma unroll
    for (int i = 0; i < elements; ++i) result.values[i] = 0;
    return result;
  }

  /// What sums relative to `from` are multiplied with to be relative to `to`, the higher one.
  __device__ static float rescaling(float from, float to) {
    return from == -__builtin_inff() ? 0.0f : __expf(from - to);
  }

  __device__ void rescale(float to) {
    const float factor = rescaling(highest, to);
    highest = to;
    weight *= factor;
#pragma unroll
    for (int i = 0; i < elements; ++i) values[i] *= factor;
  }

  /// A score of -infinity adds nothing.
  __device__ void add(float score, const float (&value)[elements]) {
    if (score > highest) rescale(score);
    const float share = rescaling(score, highest);
    weight += share;
#pragma unroll
    for (int i = 0; i < elements; ++i) values[i] = fmaf(share, value[i], values[i]);
  }

  /// Merges with the lane `distance` away, in both the same.
  __device__ void merge_lanes(int distance) {
    const float other = __shfl_xor_sync(0xffffffffu, highest, distance);
    rescale(fmaxf(highest, other));
    weight += __shfl_xor_sync(0xffffffffu, weight, distance);
#pragma unroll
    for (int i = 0; i < elements; ++i) {
      values[i] += __shfl_xor_sync(0xffffffffu, values[i], distance);
    }
  }
};

}  // namespace nibble::kernels::cuda
