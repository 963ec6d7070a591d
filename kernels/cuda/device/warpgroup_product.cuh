#pragma once

#include "bfloat16x2.cuh"

/// Tensor cores of sm_90a: a warpgroup, four warps of which the first is a multiple of four,
/// computes sums[64 x n] += a[64 x 16] b[16 x n], products exact, sums in float32, while it does
/// other things. a and sums lie in registers: warp w of the group has rows 16 w to 16 w + 15, its
/// lane 4 g + t holds, as pairs of consecutive k or n,
///   a = {row g, row g + 8} of the k pairs t and t + 4,
///   sums[4 j] = row g, sums[4 j + 2] = row g + 8 of the columns 8 j + 2 t and 8 j + 2 t + 1.
/// (PTX ISA, wgmma.mma_async.)
namespace nibble::kernels::cuda {

/// Where a product reads b in shared memory: n rows of 128 bytes, 64 consecutive k each, their
/// pieces of 16 bytes exchanged as the copy engine does it in its 128-byte mode. `address` is a
/// multiple of 1024; a step of 16 k adds kStepOfProduct.
__device__ __forceinline__ uint64_t describe_swizzled(uint32_t address) {
  constexpr uint64_t kSwizzle128 = uint64_t{1} << 62;
  constexpr uint64_t kBetweenOctetsOfRows = uint64_t{1024 / 16} << 32;
  return kSwizzle128 | kBetweenOctetsOfRows | (uint64_t{1} << 16) | (address & 0x3ffffu) >> 4;
}
constexpr uint64_t kStepOfProduct = 16 * 2 / 16;

/// Orders the registers written before it with the products after it.
__device__ __forceinline__ void begin_products() {
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
/// Those since the last call are a group.
__device__ __forceinline__ void end_products() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
/// Returns when at most `under_way` of the latest groups are not finished.
template <int under_way>
__device__ __forceinline__ void wait_for_products() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(under_way) : "memory");
}

/// All warps of a warpgroup take so many registers for each thread, a multiple of 8, from those
/// that others have left.
template <int registers>
__device__ __forceinline__ void take_registers() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(registers));
}
template <int registers>
__device__ __forceinline__ void leave_registers() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(registers));
}

#define NIBBLE_SUMS_4(s, i) "+f"(s[i]), "+f"(s[(i) + 1]), "+f"(s[(i) + 2]), "+f"(s[(i) + 3])
#define NIBBLE_SUMS_8(s, i) NIBBLE_SUMS_4(s, i), NIBBLE_SUMS_4(s, (i) + 4)
#define NIBBLE_SUMS_16(s, i) NIBBLE_SUMS_8(s, i), NIBBLE_SUMS_8(s, (i) + 8)
#define NIBBLE_SUMS_32(s, i) NIBBLE_SUMS_16(s, i), NIBBLE_SUMS_16(s, (i) + 16)
#define NIBBLE_SUMS_64(s, i) NIBBLE_SUMS_32(s, i), NIBBLE_SUMS_32(s, (i) + 32)
#define NIBBLE_SUMS_80(s, i) NIBBLE_SUMS_64(s, i), NIBBLE_SUMS_16(s, (i) + 64)
#define NIBBLE_SUMS_96(s, i) NIBBLE_SUMS_64(s, i), NIBBLE_SUMS_32(s, (i) + 64)
#define NIBBLE_SUMS_128(s, i) NIBBLE_SUMS_64(s, i), NIBBLE_SUMS_64(s, (i) + 64)

#define NIBBLE_NAMES_8 "%0, %1, %2, %3, %4, %5, %6, %7"
#define NIBBLE_NAMES_16 NIBBLE_NAMES_8 ", %8, %9, %10, %11, %12, %13, %14, %15"
#define NIBBLE_NAMES_32 \
  NIBBLE_NAMES_16       \
  ", %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define NIBBLE_NAMES_64                                                              \
  NIBBLE_NAMES_32                                                                    \
  ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47" \
  ", %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"

#define NIBBLE_NAMES_80 \
  NIBBLE_NAMES_64       \
  ", %64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79"

#define NIBBLE_NAMES_96 \
  NIBBLE_NAMES_80       \
  ", %80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95"

#define NIBBLE_NAMES_128                                                                         \
  NIBBLE_NAMES_96                                                                                \
  ", %96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111" \
  ", %112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, " \
  "%127"

#define NIBBLE_PRODUCT(n, type, count, operands)                                                \
  asm volatile(                                                                                 \
      "{.reg .pred yes; setp.eq.u32 yes, 0, 0;\n"                                               \
      "wgmma.mma_async.sync.aligned.m64n" #n "k16.f32." type "." type " {" NIBBLE_NAMES_##count \
      "}, " operands ", yes, 1, 1, 0;}"                                                         \
      : NIBBLE_SUMS_##count(sums, 0)                                                            \
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b))

#define NIBBLE_PRODUCTS(type)                                                          \
  if constexpr (n == 16) NIBBLE_PRODUCT(16, type, 8, "{%8, %9, %10, %11}, %12");       \
  if constexpr (n == 32) NIBBLE_PRODUCT(32, type, 16, "{%16, %17, %18, %19}, %20");    \
  if constexpr (n == 64) NIBBLE_PRODUCT(64, type, 32, "{%32, %33, %34, %35}, %36");    \
  if constexpr (n == 128) NIBBLE_PRODUCT(128, type, 64, "{%64, %65, %66, %67}, %68");  \
  if constexpr (n == 160) NIBBLE_PRODUCT(160, type, 80, "{%80, %81, %82, %83}, %84");  \
  if constexpr (n == 192) NIBBLE_PRODUCT(192, type, 96, "{%96, %97, %98, %99}, %100"); \
  if constexpr (n == 256) NIBBLE_PRODUCT(256, type, 128, "{%128, %129, %130, %131}, %132");

/// `sums` are n / 2, `b` is described by describe_swizzled(). Neither a nor sums may be touched
/// before the group has been waited for.
template <class T, int n>
__device__ __forceinline__ void multiply_add_async(float* sums, const uint32_t (&a)[4],
                                                   uint64_t b) {
  static_assert(n == 16 || n == 32 || n == 64 || n == 128 || n == 160 || n == 192 || n == 256);
  if constexpr (std::is_same_v<T, BFloat16>) {
    NIBBLE_PRODUCTS("bf16")
  } else {
    static_assert(std::is_same_v<T, Float16>);
    NIBBLE_PRODUCTS("f16")
  }
}

#undef NIBBLE_PRODUCTS
#undef NIBBLE_PRODUCT
#undef NIBBLE_NAMES_128
#undef NIBBLE_NAMES_96
#undef NIBBLE_NAMES_80
#undef NIBBLE_NAMES_64
#undef NIBBLE_NAMES_32
#undef NIBBLE_NAMES_16
#undef NIBBLE_NAMES_8
#undef NIBBLE_SUMS_128
#undef NIBBLE_SUMS_96
#undef NIBBLE_SUMS_80
#undef NIBBLE_SUMS_64
#undef NIBBLE_SUMS_32
#undef NIBBLE_SUMS_16
#undef NIBBLE_SUMS_8
#undef NIBBLE_SUMS_4

}  // namespace nibble::kernels::cuda
