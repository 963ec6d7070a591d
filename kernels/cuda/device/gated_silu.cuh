#pragma once

#include "chunk.cuh"

namespace nibble::kernels::cuda {

/// silu(gate) * up of eight elements; silu is rounded to T before the product, as LibTorch does. It
/// is off by up to 1e-5 of itself, and 0 below about -87: every block of a product may compute the
/// whole row, where the exact functions would take a microsecond.
template <class T>
__device__ __forceinline__ Chunk<float, kOctet> gated_silu(const T* gate, const T* up) {
  Chunk<float, kOctet> result, factors;
  load(gate, result);
  load(up, factors);
#pragma unroll
  for (int i = 0; i < kOctet; ++i) {
    const float x = result.lanes[i];
    result.lanes[i] = static_cast<float>(T(__fdividef(x, 1.0f + __expf(-x)))) * factors.lanes[i];
  }
  return result;
}

}  // namespace nibble::kernels::cuda
