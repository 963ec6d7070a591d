#pragma once

#include <type_traits>

#include "shared_address.cuh"

/// Blocks of a cluster, which run at the same time on neighbouring multiprocessors and can read
/// each other's shared memory. Only sm_90 has them: elsewhere the host starts none.
namespace nibble::kernels::cuda {

/// The clusters of a grid; where none were asked for, every block is one.
struct ClusterPlace {
  uint32_t index, count;   ///< of the cluster, of clusters
  uint32_t block, blocks;  ///< of the block in it, of its blocks
};
__device__ __forceinline__ ClusterPlace cluster_place() {
  ClusterPlace place = {blockIdx.x, gridDim.x, 0, 1};
#if __CUDA_ARCH__ >= 900
  asm("mov.u32 %0, %%clusterid.x;" : "=r"(place.index));
  asm("mov.u32 %0, %%nclusterid.x;" : "=r"(place.count));
  asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(place.block));
  asm("mov.u32 %0, %%cluster_nctarank;" : "=r"(place.blocks));
#endif
  return place;
}

/// Waits for all threads of the cluster that have not ended and makes what they wrote visible to
/// it.
__device__ __forceinline__ void cluster_barrier() {
#if __CUDA_ARCH__ >= 900
  asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
  asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
#endif
}

/// The address in block `block` of the cluster of what this one has at `address`, in shared memory.
__device__ __forceinline__ uint32_t address_in_cluster(uint32_t address, uint32_t block) {
  uint32_t result;
  asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(result) : "r"(address), "r"(block));
  return result;
}

/// What block `block` of the cluster has where this one has `*shared`, in shared memory.
template <class V>
__device__ __forceinline__ V load_from_cluster(const V* shared, [[maybe_unused]] uint32_t block) {
#if __CUDA_ARCH__ >= 900
  const uint32_t address = address_in_cluster(shared_address(shared), block);
  V value;
  if constexpr (std::is_same_v<V, float>) {
    asm volatile("ld.shared::cluster.f32 %0, [%1];" : "=f"(value) : "r"(address) : "memory");
  } else {
    static_assert(std::is_same_v<V, uint64_t>);
    asm volatile("ld.shared::cluster.u64 %0, [%1];" : "=l"(value) : "r"(address) : "memory");
  }
  return value;
#else
  return *shared;
#endif
}

/// Stores four values at an address that address_in_cluster() gave.
__device__ __forceinline__ void store_in_cluster(uint32_t address, const float* values) {
  asm volatile("st.shared::cluster.v4.f32 [%0], {%1, %2, %3, %4};" ::"r"(address), "f"(values[0]),
               "f"(values[1]), "f"(values[2]), "f"(values[3])
               : "memory");
}

}  // namespace nibble::kernels::cuda
