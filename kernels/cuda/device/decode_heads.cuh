#pragma once

#include <nibble/kernels/decode_attention_cuda.h>

#include "sums.cuh"

/// The new token's queries and key on their way into attention.
namespace nibble::kernels::cuda {

/// A warp reads one head, norms it where there is a weight and rotates it for `position`; every
/// operation is rounded to T, as LibTorch rounds it. The result goes to `rotated`, shared memory.
template <class T, int head_dim>
class RotatedHead {
 public:
  static constexpr int kPerLane = head_dim / kWarp;

  __device__ RotatedHead(const DecodeAttentionParams& p, int position)
      : p_(p), row_(position * p.rotary_dim) {}

  __device__ void prepare(const T* head, const void* norm, float* rotated) const {
    const int lane = static_cast<int>(threadIdx.x % kWarp);
    float squares = 0;
#pragma unroll
    for (int i = 0; i < kPerLane; ++i) {
      const float x = static_cast<float>(head[i * kWarp + lane]);
      squares = fmaf(x, x, squares);
      rotated[i * kWarp + lane] = x;
    }
    if (norm != nullptr) {
      const float factor = rsqrtf(sum_of_lanes(squares) / head_dim + p_.norm_eps);
#pragma unroll
      for (int i = 0; i < kPerLane; ++i) {
        const int at = i * kWarp + lane;
        rotated[at] =
            rounded(rotated[at] * factor * static_cast<float>(static_cast<const T*>(norm)[at]));
      }
    }
    __syncwarp();
    float results[kPerLane];
#pragma unroll
    for (int i = 0; i < kPerLane; ++i) results[i] = rotate(rotated, i * kWarp + lane);
    __syncwarp();
#pragma unroll
    for (int i = 0; i < kPerLane; ++i) rotated[i * kWarp + lane] = results[i];
  }

 private:
  __device__ static float rounded(float x) { return static_cast<float>(T(x)); }

  /// "Rotate half": element i turns with i + rotary_dim / 2.
  __device__ float rotate(const float* head, int at) const {
    const int rotary = static_cast<int>(p_.rotary_dim), half = rotary / 2;
    if (at >= rotary) return head[at];
    const float cos = static_cast<float>(static_cast<const T*>(p_.cos)[row_ + at]);
    const float sin = static_cast<float>(static_cast<const T*>(p_.sin)[row_ + at]);
    const float partner = at < half ? -head[at + half] : head[at - half];
    return rounded(rounded(head[at] * cos) + rounded(partner * sin));
  }

  const DecodeAttentionParams& p_;
  int64_t row_;
};

}  // namespace nibble::kernels::cuda
