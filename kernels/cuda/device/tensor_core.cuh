#pragma once

#include "bfloat16x2.cuh"

/// Tensor cores: sums[16 x 8] += a[16 x 16] b[16 x 8], products exact, sums in float32.
namespace nibble::kernels::cuda {

// Lane 4 g + t holds, as pairs of consecutive k: a = {row g, row g + 8} of the pairs t and t + 4,
// b = column g of the same two, sums = {row g, row g + 8} of the columns 2 t and 2 t + 1. (PTX ISA,
// mma.m16n8k16.) As a and b agree on it, which k a pair stands for is the caller's choice.
template <class T>
__device__ __forceinline__ void multiply_accumulate(float (&sums)[4], const uint32_t (&a)[4],
                                                    const uint32_t (&b)[2]) {
  if constexpr (std::is_same_v<T, BFloat16>) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  } else {
    static_assert(std::is_same_v<T, Float16>);
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  }
}

}  // namespace nibble::kernels::cuda
