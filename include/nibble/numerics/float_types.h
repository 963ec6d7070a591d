#pragma once

#include <nibble/core/host_device.h>

#include <cstdint>
#include <cstring>
#include <type_traits>

/// 16-bit floating point without any framework, and IEEE single arithmetic that no compiler flag
/// may contract. Everything here gives the same bits on the host and on a CUDA device.
namespace nibble::numerics {

#if defined(__FAST_MATH__)
#error "nibble/numerics needs IEEE arithmetic: compile without -ffast-math / -Ofast"
#endif

NIBBLE_HD uint32_t float_bits(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof(bits));
  return bits;
}

NIBBLE_HD float float_from_bits(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof(value));
  return value;
}

/// bfloat16: the upper half of a float.
struct BFloat16 {
  uint16_t bits;

  BFloat16() = default;
  /// Rounds to nearest, ties to even. NaN stays NaN (quiet); subnormals are kept.
  NIBBLE_HD explicit BFloat16(float value) {
#if defined(__CUDA_ARCH__)
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(value));
#else
    const uint32_t u = float_bits(value);
    const bool is_nan = (u & 0x7fffffffu) > 0x7f800000u;
    bits = is_nan ? static_cast<uint16_t>((u >> 16) | 0x0040u)
                  : static_cast<uint16_t>((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
#endif
  }
  NIBBLE_HD static BFloat16 from_bits(uint16_t bits) {
    BFloat16 result;
    result.bits = bits;
    return result;
  }
  /// Exact.
  NIBBLE_HD explicit operator float() const {
    return float_from_bits(static_cast<uint32_t>(bits) << 16);
  }
};

/// IEEE binary16.
struct Float16 {
  uint16_t bits;

  Float16() = default;
  /// Rounds to nearest, ties to even; overflows to infinity, keeps subnormals and NaN.
  NIBBLE_HD explicit Float16(float value) {
#if defined(__CUDA_ARCH__)
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
#else
    const uint32_t u = float_bits(value);
    const uint16_t sign = static_cast<uint16_t>((u >> 16) & 0x8000u);
    const uint32_t magnitude = u & 0x7fffffffu;
    if (magnitude > 0x7f800000u) {
      bits = static_cast<uint16_t>(sign | 0x7e00u | ((magnitude >> 13) & 0x3ffu));
    } else if (magnitude >= 0x477ff000u) {  // 65520 and above round to infinity
      bits = static_cast<uint16_t>(sign | 0x7c00u);
    } else if (magnitude >= 0x38800000u) {  // normal: rebias the exponent, round the mantissa
      const uint32_t rounded = magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13) & 1u);
      bits = static_cast<uint16_t>(sign | (rounded >> 13));
    } else {  // subnormal: adding 0.5 aligns the mantissa so that the FPU rounds at 2^-24
      const float aligned = float_from_bits(magnitude) + 0.5f;
      bits = static_cast<uint16_t>(sign | (float_bits(aligned) - 0x3f000000u));
    }
#endif
  }
  NIBBLE_HD static Float16 from_bits(uint16_t bits) {
    Float16 result;
    result.bits = bits;
    return result;
  }
  /// Exact.
  NIBBLE_HD explicit operator float() const {
#if defined(__CUDA_ARCH__)
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
    return value;
#else
    const uint32_t sign = static_cast<uint32_t>(bits & 0x8000u) << 16;
    const uint32_t exponent = (bits >> 10) & 0x1fu;
    const uint32_t mantissa = bits & 0x3ffu;
    if (exponent == 0) {  // zero or subnormal: mantissa * 2^-24, exact in float
      const float magnitude = static_cast<float>(mantissa) * 5.9604644775390625e-8f;
      return float_from_bits(sign | float_bits(magnitude));
    }
    if (exponent == 0x1fu) {
      return float_from_bits(sign | 0x7f800000u | (mantissa << 13));
    }
    return float_from_bits(sign | ((exponent + 112u) << 23) | (mantissa << 13));
#endif
  }
};

/// `value` rounded to the precision of T, as a float.
template <class T>
NIBBLE_HD float round_to(float value) {
  return static_cast<float>(T(value));
}
template <>
NIBBLE_HD float round_to<float>(float value) {
  return value;
}

/// A value that is exact in From, rounded to To: rounding twice to one type is rounding once.
template <class From, class To, class F>
NIBBLE_HD auto convert(F value) {
  if constexpr (std::is_same_v<From, To>) {
    return value;
  } else {
    return round_to<To>(value);
  }
}

/// The dtype of an operation on tensors of types A and B, as PyTorch promotes them.
template <class A, class B>
struct Promote {
  using type = float;
};
template <class A>
struct Promote<A, A> {
  using type = A;
};
template <class A, class B>
using promote_t = typename Promote<A, B>::type;

/// Smallest positive normal number of T.
template <class T>
NIBBLE_HD constexpr float smallest_normal() {
  return 1.1754943508222875e-38f;  // 2^-126: float and bfloat16 share the exponent range
}
template <>
NIBBLE_HD constexpr float smallest_normal<Float16>() {
  return 6.103515625e-05f;  // 2^-14
}

// IEEE single operations, each rounded once: never contracted to a fused multiply-add.
#if defined(__CUDA_ARCH__)
NIBBLE_HD float add(float a, float b) { return __fadd_rn(a, b); }
NIBBLE_HD float subtract(float a, float b) { return __fsub_rn(a, b); }
NIBBLE_HD float multiply(float a, float b) { return __fmul_rn(a, b); }
NIBBLE_HD float divide(float a, float b) { return __fdiv_rn(a, b); }
NIBBLE_HD float reciprocal(float a) { return __frcp_rn(a); }
/// a b + c, rounded once.
NIBBLE_HD float fused_multiply_add(float a, float b, float c) { return __fmaf_rn(a, b, c); }
#else
NIBBLE_HD float add(float a, float b) { return a + b; }
NIBBLE_HD float subtract(float a, float b) { return a - b; }
NIBBLE_HD float multiply(float a, float b) { return a * b; }
NIBBLE_HD float divide(float a, float b) { return a / b; }
NIBBLE_HD float reciprocal(float a) { return 1.0f / a; }
#endif

/// The integer nearest to `a`, half to even, zero as +0: a float of 1.5 * 2^23 has no bits left for
/// a fraction, and the sum rounds the IEEE way. Beyond 2^22 the result is an integer near `a`, as
/// far outside every grid as `a` is.
template <class F>
NIBBLE_HD F round_to_integer(F a) {
  const F shift(12582912.0f);
  return subtract(add(a, shift), shift);
}

/// The lanes of `a` as floats, exactly. A packed type has an overload.
template <class F>
NIBBLE_HD F widen(F a) {
  return a;
}

/// Whether |a| is +0 or in [low, high]; of a SIMD register, whether every lane is.
NIBBLE_HD bool all_moderate(float a, float low, float high) {
  const float size = float_from_bits(float_bits(a) & 0x7fffffffu);
  return (size >= low && size <= high) || float_bits(a) == 0;
}

/// Whether dividing costs more than the steps of corrected_quotient().
#if defined(__CUDA_ARCH__)
template <class F>
inline constexpr bool kDividesSlowly = true;
#else
template <class F>
inline constexpr bool kDividesSlowly = !std::is_same_v<F, float>;
#endif

/// The bfloat16 b by which corrected_quotient() divides: 2^-40 to 2^40.
NIBBLE_HD bool is_moderate_divisor(float b) {
  return b >= 9.094947017729282e-13f && b <= 1.099511627776e12f;
}
/// Its largest dividend, 2^80.
inline constexpr float kLargestDividend = 1.2089258196146292e24f;

/// a / b, correctly rounded to float by one step of residual correction, for a moderate bfloat16 b
/// and |a| = 0 or 2^-80 to 2^80, so that quotient and residual are normal: for the 128 significands
/// of b that is checked for every a (tests/unit/numerics). A zero is +0. inverse_b is
/// reciprocal(b).
template <class F>
NIBBLE_HD F corrected_quotient(F a, float b, float inverse_b) {
  const F quotient = multiply(a, F(inverse_b));
  const F residual = fused_multiply_add(F(-b), quotient, a);
  return fused_multiply_add(residual, F(inverse_b), quotient);
}

/// R_T(a / b) for a normal bfloat16 b that divides many a; inverse_b is reciprocal(b).
/// For T = bfloat16, `a` is one too, and the product with the reciprocal rounds to the same bits:
/// quotients of 8-bit significands keep 2^-17 away from the middle between two bfloat16, the
/// product errs by 2^-23 (tests/unit/numerics has all pairs of significands, and the subnormals).
template <class T, class F>
NIBBLE_HD auto divide_by_bfloat16(F a, float b, float inverse_b) {
  if constexpr (std::is_same_v<T, BFloat16>) {
    const auto dividend = widen(a);
    return round_to<T>(multiply(dividend, decltype(dividend)(inverse_b)));
  } else {
    if constexpr (kDividesSlowly<F>) {
      constexpr float kSmallestDividend = 8.271806125530277e-25f;  // 2^-80
      if (is_moderate_divisor(b) && all_moderate(a, kSmallestDividend, kLargestDividend)) {
        return round_to<T>(corrected_quotient(a, b, inverse_b));
      }
    }
    return round_to<T>(divide(a, F(b)));
  }
}

/// min, max and clamp that pass NaN on, as ATen's do (std::min and fminf do not).
#if defined(__CUDA_ARCH__)
NIBBLE_HD float nan_min(float a, float b) {
  float result;
  asm("min.NaN.f32 %0, %1, %2;" : "=f"(result) : "f"(a), "f"(b));
  return result;
}
NIBBLE_HD float nan_max(float a, float b) {
  float result;
  asm("max.NaN.f32 %0, %1, %2;" : "=f"(result) : "f"(a), "f"(b));
  return result;
}
NIBBLE_HD float nan_clamp(float a, float low, float high) { return nan_min(nan_max(a, low), high); }
#else
NIBBLE_HD float nan_min(float a, float b) { return (a < b || a != a) ? a : b; }
NIBBLE_HD float nan_max(float a, float b) { return (a > b || a != a) ? a : b; }
NIBBLE_HD float nan_clamp(float a, float low, float high) {
  return a < low ? low : (a > high ? high : a);
}
#endif

/// Whether low <= a <= high; false for NaN.
NIBBLE_HD bool within(float a, float low, float high) { return a >= low && a <= high; }
NIBBLE_HD float select(bool condition, float a, float b) { return condition ? a : b; }

/// round_to_integer(divide_by_bfloat16<T>(a, b, inverse_b)), but for an |a| above 2^80 any integer
/// above 2^40 with the sign of a: it is a code, and far outside every grid.
template <class T, class F>
NIBBLE_HD auto integer_quotient(F a, float b, float inverse_b) {
  if constexpr (!std::is_same_v<T, BFloat16> && kDividesSlowly<F>) {
    if (is_moderate_divisor(b)) {
      // Too small a dividend for a quotient with all its bits gives 0 all the same.
      const F bounded = nan_clamp(a, F(-kLargestDividend), F(kLargestDividend));
      return round_to_integer(round_to<T>(corrected_quotient(bounded, b, inverse_b)));
    }
  }
  return round_to_integer(divide_by_bfloat16<T>(a, b, inverse_b));
}

}  // namespace nibble::numerics
