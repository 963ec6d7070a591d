#pragma once

#include <cstdint>
#include <cuda.h>

#include "shared_address.cuh"

/// The copy engine of sm_90, the barriers that its copies arrive at. (PTX ISA,
/// cp.async.bulk.tensor, mbarrier.)
namespace nibble::kernels::cuda {

/// A barrier in shared memory, at `address`. Its phases have parity 0, 1, 0, ...
class CopyBarrier {
 public:
  __device__ explicit CopyBarrier(uint32_t address) : address_(address) {}

  /// One thread, before publish_barriers().
  __device__ void initialize(uint32_t arrivals) const {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(address_), "r"(arrivals));
  }
  __device__ void arrive() const {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(address_) : "memory");
  }
  /// Arrives; the phase ends when copies have brought `bytes` too.
  __device__ void arrive_and_expect(uint32_t bytes) const {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(address_),
                 "r"(bytes)
                 : "memory");
  }
  /// Returns when the phase of this parity has ended.
  __device__ void wait(uint32_t parity) const {
    asm volatile(
        "{.reg .pred done;\n"
        "again: mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
        "@!done bra again;}" ::"r"(address_),
        "r"(parity)
        : "memory");
  }
  __device__ uint32_t address() const { return address_; }

 private:
  uint32_t address_;
};

/// Makes initialized barriers visible to the copy engine.
__device__ __forceinline__ void publish_barriers() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}

/// Has the box of `map` at (column, row) copied to shared memory; what lies outside the matrix is
/// zeros.
__device__ __forceinline__ void copy_box(const CUtensorMap& map, uint32_t column, uint32_t row,
                                         uint32_t target, const CopyBarrier& arrival) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes "
      "[%0], [%1, {%2, %3}], [%4];" ::"r"(target),
      "l"(&map), "r"(column), "r"(row), "r"(arrival.address())
      : "memory");
}

/// Has it brought into the L2 cache, which is coherent: safe whoever writes there.
__device__ __forceinline__ void prefetch_box(const CUtensorMap& map, uint32_t column,
                                             uint32_t row) {
  asm volatile("cp.async.bulk.prefetch.tensor.2d.L2.global [%0, {%1, %2}];" ::"l"(&map),
               "r"(column), "r"(row)
               : "memory");
}

/// Has the map itself fetched before it is used.
__device__ __forceinline__ void prefetch_map(const CUtensorMap& map) {
  asm volatile("prefetch.tensormap [%0];" ::"l"(&map) : "memory");
}

/// Waits for `threads` threads, whole warps, at barrier `index` of the block, 1 to 15.
__device__ __forceinline__ void synchronize_threads(uint32_t index, uint32_t threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(index), "r"(threads) : "memory");
}

/// Stores four 8 x 8 matrices of 16-bit values, transposed: lane 4 g + t holds in matrices[i] row
/// g, columns 2 t and 2 t + 1, and column l % 8 of matrix l / 8 goes to the address of lane l.
__device__ __forceinline__ void store_transposed(uint32_t address, const uint32_t (&matrices)[4]) {
  asm volatile(
      "stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(address),
      "r"(matrices[0]), "r"(matrices[1]), "r"(matrices[2]), "r"(matrices[3])
      : "memory");
}

__device__ __forceinline__ uint4 load_shared(uint32_t address) {
  uint4 v;
  asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "r"(address)
               : "memory");
  return v;
}
__device__ __forceinline__ float load_shared_float(uint32_t address) {
  float value;
  asm volatile("ld.shared.f32 %0, [%1];" : "=f"(value) : "r"(address) : "memory");
  return value;
}
__device__ __forceinline__ void store_shared(uint32_t address, float value) {
  asm volatile("st.shared.f32 [%0], %1;" ::"r"(address), "f"(value) : "memory");
}

}  // namespace nibble::kernels::cuda
