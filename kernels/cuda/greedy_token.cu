#include <nibble/kernels/greedy_token_cuda.h>

#include "../grid_dispatch.h"
#include "device/chunk.cuh"
#include "device/extremes.cuh"
#include "device/overlap.cuh"
#include "launch.h"

namespace nibble::kernels {
namespace cuda {
namespace {

constexpr int kThreads = 1024;
constexpr int kOctetsAhead = 4;  ///< that a thread reads together

/// Logit and index in one number that is larger for what is chosen first.
__device__ __forceinline__ uint64_t rank(float logit, uint32_t index) {
  const uint32_t bits = numerics::float_bits(logit + 0.0f);  // -0 equals 0
  const bool is_nan = logit != logit;
  const uint32_t ordered = is_nan ? ~0u : (bits >> 31) != 0 ? ~bits : bits | 0x80000000u;
  return uint64_t{ordered} << 32 | ~index;
}

__device__ __forceinline__ uint64_t highest_of_warp(uint64_t value) {
#pragma unroll
  for (int distance = kWarp / 2; distance > 0; distance /= 2) {
    const uint64_t other = __shfl_xor_sync(0xffffffffu, value, distance);
    value = other > value ? other : value;
  }
  return value;
}

/// One block: the logits of a large vocabulary are read in a few microseconds, less than it takes
/// to agree with other blocks.
template <class T>
__global__ void __launch_bounds__(kThreads) greedy_token_kernel(GreedyTokenParams p) {
  __shared__ uint64_t of_warps[kWarp];
  let_next_begin();
  wait_for_previous();
  const T* logits = static_cast<const T*>(p.logits);
  const auto count = static_cast<uint32_t>(p.count), octets = count / kOctet;
  uint64_t highest = 0;
  const auto take = [&](float logit, uint32_t index) {
    const uint64_t candidate = rank(logit, index);
    if (candidate > highest) highest = candidate;
  };
  for (uint32_t first = threadIdx.x; first < octets; first += kOctetsAhead * kThreads) {
    Octet<float> read[kOctetsAhead];
#pragma unroll
    for (int i = 0; i < kOctetsAhead; ++i) {
      load(logits + min(first + i * kThreads, octets - 1) * kOctet, read[i]);
    }
#pragma unroll
    for (int i = 0; i < kOctetsAhead; ++i) {
      const uint32_t octet = min(first + i * kThreads, octets - 1);
#pragma unroll
      for (int j = 0; j < kOctet; ++j) take(read[i].lanes[j], octet * kOctet + j);
    }
  }
  const uint32_t rest = octets * kOctet + threadIdx.x;
  if (rest < count) take(static_cast<float>(logits[rest]), rest);
  highest = highest_of_warp(highest);
  if (threadIdx.x % kWarp == 0) of_warps[threadIdx.x / kWarp] = highest;
  __syncthreads();
  if (threadIdx.x >= kWarp) return;
  highest = highest_of_warp(of_warps[threadIdx.x]);
  if (threadIdx.x == 0) *p.token = static_cast<int64_t>(~static_cast<uint32_t>(highest));
}

}  // namespace
}  // namespace cuda

bool can_run_greedy_token(const GreedyTokenParams& p) {
  return p.count >= 1 && p.count < int64_t{1} << 31 && cuda::is_aligned(p.logits, 16);
}

void greedy_token_cuda(const GreedyTokenParams& params, CUstream_st* stream) {
  NIBBLE_CHECK(can_run_greedy_token(params), "greedy_token_cuda does not take ", params.count,
               " logits at this address");
  dispatch_dtype(params.dtype, [&](auto element) {
    cuda::launch_overlapping("greedy_token_kernel",
                             cuda::greedy_token_kernel<typename decltype(element)::type>,
                             {1, cuda::kThreads}, stream, params);
  });
}

}  // namespace nibble::kernels
