#include <nibble/kernels/greedy_token_cuda.h>

#include "../grid_dispatch.h"
#include "device/chunk.cuh"
#include "device/cluster.cuh"
#include "device/extremes.cuh"
#include "device/overlap.cuh"
#include "launch.h"

namespace nibble::kernels {
namespace cuda {
namespace {

constexpr int kThreads = 1024;
constexpr int kOctetsAhead = 2;  ///< that a thread reads together

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

/// The blocks are one cluster and take turns at the logits; the first one ends it.
template <class T>
__global__ void __launch_bounds__(kThreads) greedy_token_kernel(GreedyTokenParams p) {
  __shared__ uint64_t of_warps[kWarp];
  __shared__ uint64_t of_block;
  let_next_begin();
  wait_for_previous();
  const T* logits = static_cast<const T*>(p.logits);
  const auto count = static_cast<uint32_t>(p.count), octets = count / kOctet;
  const uint32_t thread = blockIdx.x * kThreads + threadIdx.x, threads = gridDim.x * kThreads;
  uint64_t highest = 0;
  const auto take = [&](float logit, uint32_t index) {
    const uint64_t candidate = rank(logit, index);
    if (candidate > highest) highest = candidate;
  };
  for (uint32_t first = thread; first < octets; first += kOctetsAhead * threads) {
    Octet<float> read[kOctetsAhead];
#pragma unroll
    for (int i = 0; i < kOctetsAhead; ++i) {
      load(logits + min(first + i * threads, octets - 1) * kOctet, read[i]);
    }
#pragma unroll
    for (int i = 0; i < kOctetsAhead; ++i) {
      const uint32_t octet = min(first + i * threads, octets - 1);
#pragma unroll
      for (int j = 0; j < kOctet; ++j) take(read[i].lanes[j], octet * kOctet + j);
    }
  }
  const uint32_t rest = octets * kOctet + thread;
  if (rest < count) take(static_cast<float>(logits[rest]), rest);
  highest = highest_of_warp(highest);
  if (threadIdx.x % kWarp == 0) of_warps[threadIdx.x / kWarp] = highest;
  __syncthreads();
  if (threadIdx.x < kWarp) of_block = highest_of_warp(of_warps[threadIdx.x]);
  cluster_barrier();
  if (blockIdx.x == 0 && threadIdx.x < kWarp) {
    highest = threadIdx.x < gridDim.x ? load_from_cluster(&of_block, threadIdx.x) : 0;
    highest = highest_of_warp(highest);
    if (threadIdx.x == 0) *p.token = static_cast<int64_t>(~static_cast<uint32_t>(highest));
  }
  cluster_barrier();  // the first block may still read what the others have
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
    cuda::LaunchShape shape{cuda::most_cluster_blocks(), cuda::kThreads};
    shape.cluster_blocks = shape.blocks;
    cuda::launch_overlapping("greedy_token_kernel",
                             cuda::greedy_token_kernel<typename decltype(element)::type>, shape,
                             stream, params);
  });
}

}  // namespace nibble::kernels
