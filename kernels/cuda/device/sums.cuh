#pragma once

#include "extremes.cuh"

/// Sums over the lanes of a warp and the threads of a block, in an order that is always the same.
namespace nibble::kernels::cuda {

/// Over lanes that differ in the bits below `lanes`, a power of two; all of them get it.
__device__ __forceinline__ float sum_of_lanes(float value, int lanes = kWarp) {
#pragma unroll
  for (int distance = lanes / 2; distance > 0; distance /= 2) {
    value += __shfl_xor_sync(0xffffffffu, value, distance);
  }
  return value;
}

/// Over a block of whole warps; all of its threads call it and get it. `of_warps` is shared memory
/// for kWarp sums.
__device__ __forceinline__ float sum_of_block(float value, float* of_warps) {
  value = sum_of_lanes(value);
  if (threadIdx.x % kWarp == 0) of_warps[threadIdx.x / kWarp] = value;
  __syncthreads();
  const uint32_t lane = threadIdx.x % kWarp;
  return sum_of_lanes(lane < blockDim.x / kWarp ? of_warps[lane] : 0.0f);
}

}  // namespace nibble::kernels::cuda
