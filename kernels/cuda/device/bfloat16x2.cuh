#pragma once

#include <nibble/numerics/float_types.h>

#include <type_traits>

/// Two lanes for the formulas of numerics/grids.h in a bfloat16 tensor, with the operations of
/// numerics/float_types.h: lane by lane the same bits, in a third of the instructions.
///
/// BFloat16x2 holds what is exact in bfloat16 and rounds every result to it, once. The formulas
/// round to float first; for a sum, difference or product of two bfloat16 that changes nothing
/// (tests/unit/numerics). So it serves where every operation is followed by a rounding to bfloat16.
/// FloatPair is what a product with a float is before that rounding.
namespace nibble::kernels::cuda {

using numerics::BFloat16;
using numerics::Float16;

/// Two floats rounded to T in one instruction, `first` in the lower half.
template <class T>
__device__ __forceinline__ uint32_t pack(float first, float second);
template <>
__device__ __forceinline__ uint32_t pack<BFloat16>(float first, float second) {
  uint32_t word;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(second), "f"(first));
  return word;
}
template <>
__device__ __forceinline__ uint32_t pack<Float16>(float first, float second) {
  uint32_t word;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(second), "f"(first));
  return word;
}

struct BFloat16x2 {
  /// All ones in the lanes that are set.
  struct Mask {
    uint32_t word;
  };

  uint32_t word;  ///< the first lane in the lower half

  BFloat16x2() = default;
  /// Both lanes; `value` is exact in bfloat16.
  __device__ explicit BFloat16x2(float value) : word(pack<BFloat16>(value, value)) {}
  __device__ static BFloat16x2 from_word(uint32_t word) {
    BFloat16x2 result;
    result.word = word;
    return result;
  }
  __device__ float first() const { return numerics::float_from_bits(word << 16); }
  __device__ float second() const { return numerics::float_from_bits(word & 0xffff0000u); }
};

struct FloatPair {
  float first, second;

  __device__ FloatPair(float a, float b) : first(a), second(b) {}
  __device__ explicit FloatPair(float value) : first(value), second(value) {}
  __device__ explicit FloatPair(BFloat16x2 value) : first(value.first()), second(value.second()) {}
};

// ---- BFloat16x2

__device__ __forceinline__ BFloat16x2 multiply_add(BFloat16x2 a, BFloat16x2 b, BFloat16x2 c) {
  BFloat16x2 result;
  asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(result.word) : "r"(a.word), "r"(b.word), "r"(c.word));
  return result;
}
// sm_80 has no other arithmetic on bfloat16. Adding -0 keeps the sign of every zero.
__device__ __forceinline__ BFloat16x2 multiply(BFloat16x2 a, BFloat16x2 b) {
  return multiply_add(a, b, BFloat16x2::from_word(0x80008000u));
}
__device__ __forceinline__ BFloat16x2 add(BFloat16x2 a, BFloat16x2 b) {
  return multiply_add(a, BFloat16x2::from_word(0x3f803f80u), b);
}
__device__ __forceinline__ BFloat16x2 subtract(BFloat16x2 a, BFloat16x2 b) {
  return multiply_add(b, BFloat16x2::from_word(0xbf80bf80u), a);
}
template <class T>
__device__ __forceinline__ BFloat16x2 round_to(BFloat16x2 a) {
  static_assert(!std::is_same_v<T, Float16>, "bfloat16 lanes are for bfloat16 tensors");
  return a;
}
/// As numerics::round_to_integer, with the shift of 8-bit significands: an integer within 64,
/// beyond that something as far outside an int4 grid.
__device__ __forceinline__ BFloat16x2 round_to_integer(BFloat16x2 a) {
  const BFloat16x2 shift = BFloat16x2::from_word(0x43404340u);  // 192
  return subtract(add(a, shift), shift);
}

__device__ __forceinline__ BFloat16x2 nan_min(BFloat16x2 a, BFloat16x2 b) {
  BFloat16x2 result;
  asm("min.NaN.bf16x2 %0, %1, %2;" : "=r"(result.word) : "r"(a.word), "r"(b.word));
  return result;
}
__device__ __forceinline__ BFloat16x2 nan_max(BFloat16x2 a, BFloat16x2 b) {
  BFloat16x2 result;
  asm("max.NaN.bf16x2 %0, %1, %2;" : "=r"(result.word) : "r"(a.word), "r"(b.word));
  return result;
}
__device__ __forceinline__ BFloat16x2 nan_clamp(BFloat16x2 a, BFloat16x2 low, BFloat16x2 high) {
  return nan_min(nan_max(a, low), high);
}
/// A value is within the bounds when clamping keeps it: one comparison, as the clamp is needed too.
__device__ __forceinline__ BFloat16x2::Mask within(BFloat16x2 a, BFloat16x2 low, BFloat16x2 high) {
  const BFloat16x2 clamped = nan_clamp(a, low, high);
  BFloat16x2::Mask mask;
#if __CUDA_ARCH__ >= 900
  asm("set.eq.u32.bf16x2 %0, %1, %2;" : "=r"(mask.word) : "r"(a.word), "r"(clamped.word));
#else
  mask.word = (a.first() == clamped.first() ? 0x0000ffffu : 0) |
              (a.second() == clamped.second() ? 0xffff0000u : 0);
#endif
  return mask;
}
__device__ __forceinline__ BFloat16x2 select(BFloat16x2::Mask condition, BFloat16x2 a,
                                             BFloat16x2 b) {
  return BFloat16x2::from_word((a.word & condition.word) | (b.word & ~condition.word));
}
__device__ __forceinline__ FloatPair widen(BFloat16x2 a) { return FloatPair(a); }

// ---- FloatPair

__device__ __forceinline__ FloatPair multiply(FloatPair a, FloatPair b) {
  return {__fmul_rn(a.first, b.first), __fmul_rn(a.second, b.second)};
}
__device__ __forceinline__ FloatPair multiply(BFloat16x2 a, FloatPair b) {
  return multiply(widen(a), b);
}
template <class T>
__device__ __forceinline__ auto round_to(FloatPair a) {
  if constexpr (std::is_same_v<T, BFloat16>) {
    return BFloat16x2::from_word(pack<BFloat16>(a.first, a.second));
  } else {
    static_assert(std::is_same_v<T, float>, "float pairs are for bfloat16 tensors");
    return a;
  }
}
/// In bfloat16, where integers up to 256 are exact and larger ones stay outside every grid.
__device__ __forceinline__ BFloat16x2 round_to_integer(FloatPair a) {
  return round_to<BFloat16>(
      FloatPair(numerics::round_to_integer(a.first), numerics::round_to_integer(a.second)));
}

}  // namespace nibble::kernels::cuda
