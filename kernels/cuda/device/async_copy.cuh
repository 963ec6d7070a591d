#pragma once

#include <cstdint>

#include "shared_address.cuh"

/// Copies from global to shared memory (cp.async) that a thread begins and later waits for; what is
/// under way takes no registers. Only the thread that waits sees the bytes before a barrier.
namespace nibble::kernels::cuda {

/// 16 bytes, past the L1 cache; the rest of the line is wanted next.
__device__ __forceinline__ void copy_async(uint32_t to, const void* from) {
  asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16;" ::"r"(to),
               "l"(__cvta_generic_to_global(from))
               : "memory");
}

/// Ends a group: the copies that this thread has begun since the last one.
__device__ __forceinline__ void end_copy_group() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}

/// Returns when all but the `later` newest groups of this thread have arrived.
template <int later>
__device__ __forceinline__ void wait_for_copy_groups() {
  asm volatile("cp.async.wait_group %0;" ::"n"(later) : "memory");
}

}  // namespace nibble::kernels::cuda
