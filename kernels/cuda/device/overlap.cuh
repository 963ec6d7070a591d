#pragma once

#include <cstdint>

/// A kernel that launch_overlapping() starts may begin while the one before it on the stream still
/// runs. Each such kernel calls wait_for_previous() before it reads or writes anything that another
/// kernel writes; what is only brought into a cache may be read earlier. Before sm_90 kernels
/// follow each other and all of this does nothing.
namespace nibble::kernels::cuda {

/// Lets the next kernel begin once every block of this one has called it.
__device__ __forceinline__ void let_next_begin() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;");
#endif
}

/// Returns when everything that earlier kernels wrote is visible.
__device__ __forceinline__ void wait_for_previous() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

}  // namespace nibble::kernels::cuda
