#pragma once

#include <nibble/numerics/float_types.h>

/// The lowest and highest value of a group, over the threads that share it. NaN sticks.
namespace nibble::kernels::cuda {

constexpr int kWarp = 32;

struct Extremes {
  float lowest = __builtin_inff();
  float highest = -__builtin_inff();

  __device__ void add(float value) {
    lowest = numerics::nan_min(value, lowest);
    highest = numerics::nan_max(value, highest);
  }
  __device__ void add(const Extremes& other) {
    lowest = numerics::nan_min(other.lowest, lowest);
    highest = numerics::nan_max(other.highest, highest);
  }
};

/// Over `width` consecutive lanes, a power of two up to 32. All lanes of the warp take part.
__device__ inline Extremes reduce_lanes(Extremes mine, int width) {
  for (int distance = width / 2; distance > 0; distance /= 2) {
    Extremes other;
    other.lowest = __shfl_xor_sync(~0u, mine.lowest, distance);
    other.highest = __shfl_xor_sync(~0u, mine.highest, distance);
    mine.add(other);
  }
  return mine;
}

/// Over the block, a multiple of 32 threads. All threads take part.
__device__ inline Extremes reduce_block(Extremes mine) {
  __shared__ float lowest[kWarp], highest[kWarp];
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  mine = reduce_lanes(mine, kWarp);
  if (lane == 0) {
    lowest[warp] = mine.lowest;
    highest[warp] = mine.highest;
  }
  __syncthreads();
  if (lane < static_cast<int>(blockDim.x) / kWarp) {
    mine.lowest = lowest[lane];
    mine.highest = highest[lane];
  }
  return reduce_lanes(mine, kWarp);
}

}  // namespace nibble::kernels::cuda
