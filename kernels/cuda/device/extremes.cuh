#pragma once

#include "chunk.cuh"

/// The lowest and highest value of a group, over the threads that share it. NaN sticks.
namespace nibble::kernels::cuda {

constexpr int kWarp = 32;

/// Trivial, so that it can live in shared memory: begin with Extremes::of_nothing().
struct FloatExtremes {
  float low, high;

  __device__ static FloatExtremes of_nothing() { return {__builtin_inff(), -__builtin_inff()}; }
  __device__ void add(float value) { merge({value, value}); }
  __device__ void merge(const FloatExtremes& other) {
    low = numerics::nan_min(other.low, low);
    high = numerics::nan_max(other.high, high);
  }
  __device__ FloatExtremes of_lane(int distance) const {
    return {__shfl_xor_sync(~0u, low, distance), __shfl_xor_sync(~0u, high, distance)};
  }
  __device__ float lowest() const { return low; }
  __device__ float highest() const { return high; }
};

/// Both in one word: the lowest and the negated highest, so that one minimum merges two of them.
struct BFloat16Extremes {
  BFloat16x2 low_and_negated_high;

  __device__ static BFloat16Extremes of_nothing() { return {BFloat16x2(__builtin_inff())}; }
  __device__ void merge(const BFloat16Extremes& other) {
    low_and_negated_high = nan_min(other.low_and_negated_high, low_and_negated_high);
  }
  __device__ BFloat16Extremes of_lane(int distance) const {
    return {BFloat16x2::from_word(__shfl_xor_sync(~0u, low_and_negated_high.word, distance))};
  }
  __device__ float lowest() const { return low_and_negated_high.first(); }
  __device__ float highest() const { return -low_and_negated_high.second(); }
};

template <int kOctets>
__device__ inline FloatExtremes extremes_of(const Octet<float> (&octets)[kOctets], int count) {
  FloatExtremes result = FloatExtremes::of_nothing();
#pragma unroll
  for (int j = 0; j < kOctets; ++j) {
    if (j >= count) break;
    for (const float value : octets[j].lanes) result.add(value);
  }
  return result;
}

template <int kOctets>
__device__ inline BFloat16Extremes extremes_of(const Octet<BFloat16x2> (&octets)[kOctets],
                                               int count) {
  BFloat16x2 low(__builtin_inff()), high(-__builtin_inff());
#pragma unroll
  for (int j = 0; j < kOctets; ++j) {
    if (j >= count) break;
    for (const BFloat16x2 pair : octets[j].lanes) {
      low = nan_min(pair, low);
      high = nan_max(pair, high);
    }
  }
  const uint32_t negated_high = high.word ^ 0x80008000u;
  BFloat16Extremes result{BFloat16x2::from_word(__byte_perm(low.word, negated_high, 0x5410))};
  result.merge({BFloat16x2::from_word(__byte_perm(low.word, negated_high, 0x7632))});
  return result;
}

/// Over `width` consecutive lanes, a power of two up to 32. All lanes of the warp take part.
template <class Extremes>
__device__ inline Extremes reduce_lanes(Extremes mine, int width) {
  for (int distance = width / 2; distance > 0; distance /= 2) mine.merge(mine.of_lane(distance));
  return mine;
}

/// Over the block, a multiple of 32 threads. All threads take part.
template <class Extremes>
__device__ inline Extremes reduce_block(Extremes mine) {
  __shared__ Extremes of_warp[kWarp];
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  mine = reduce_lanes(mine, kWarp);
  if (lane == 0) of_warp[warp] = mine;
  __syncthreads();
  if (lane < static_cast<int>(blockDim.x) / kWarp) mine = of_warp[lane];
  return reduce_lanes(mine, kWarp);
}

}  // namespace nibble::kernels::cuda
