#pragma once

#include <nibble/numerics/float_types.h>

#include <immintrin.h>
#include <type_traits>

/// Sixteen floats with the operations of numerics/float_types.h, lane by lane the same bits. The
/// bf16 conversion instructions of AVX512-BF16 are not used: they flush subnormals.
namespace nibble::kernels::cpu {

using numerics::BFloat16;
using numerics::Float16;

struct Avx512 {
  static constexpr int64_t kLanes = 16;
  using Mask = __mmask16;

  __m512 lanes;

  NIBBLE_HD explicit Avx512(__m512 value) : lanes(value) {}
  NIBBLE_HD explicit Avx512(float value) : lanes(_mm512_set1_ps(value)) {}

  NIBBLE_HD static Avx512 load(const float* source) { return Avx512(_mm512_loadu_ps(source)); }
  NIBBLE_HD static Avx512 load(const BFloat16* source) {
    const __m512i wide = _mm512_cvtepu16_epi32(load_half(source));
    return Avx512(_mm512_castsi512_ps(_mm512_slli_epi32(wide, 16)));
  }
  NIBBLE_HD static Avx512 load(const Float16* source) {
    return Avx512(_mm512_cvtph_ps(load_half(source)));
  }
  NIBBLE_HD static Avx512 load(const int8_t* source) {
    const __m128i codes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(source));
    return Avx512(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(codes)));
  }

  NIBBLE_HD void store(float* target) const { _mm512_storeu_ps(target, lanes); }
  NIBBLE_HD void store(BFloat16* target) const {
    const __m512i upper = _mm512_srli_epi32(rounded_to_bfloat16(), 16);
    store_half(target, _mm512_cvtepi32_epi16(upper));
  }
  NIBBLE_HD void store(Float16* target) const {
    store_half(target, _mm512_cvtps_ph(lanes, _MM_FROUND_TO_NEAREST_INT));
  }
  /// Codes; NaN becomes 0.
  NIBBLE_HD void store(int8_t* target) const {
    const Mask ordered = _mm512_cmp_ps_mask(lanes, lanes, _CMP_ORD_Q);
    const __m512i codes = _mm512_maskz_cvtps_epi32(ordered, lanes);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(target), _mm512_cvtepi32_epi8(codes));
  }

  NIBBLE_HD static Mask mask_from_bits(uint32_t bits) { return static_cast<Mask>(bits); }
  NIBBLE_HD static uint32_t bits_of(Mask mask) { return mask; }

  /// The bits of a float whose lower half is 0.
  NIBBLE_HD __m512i rounded_to_bfloat16() const {
    const __m512i bits = _mm512_castps_si512(lanes);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    const __m512i half = _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff));
    const __m512i quiet = _mm512_or_si512(bits, _mm512_set1_epi32(0x00400000));
    const Mask ordered = _mm512_cmp_ps_mask(lanes, lanes, _CMP_ORD_Q);
    const __m512i rounded = _mm512_mask_add_epi32(quiet, ordered, bits, half);
    return _mm512_and_si512(rounded, _mm512_set1_epi32(static_cast<int>(0xffff0000u)));
  }

 private:
  NIBBLE_HD static __m256i load_half(const void* source) {
    return _mm256_loadu_si256(static_cast<const __m256i*>(source));
  }
  NIBBLE_HD static void store_half(void* target, __m256i value) {
    _mm256_storeu_si256(static_cast<__m256i*>(target), value);
  }
};

NIBBLE_HD Avx512 add(Avx512 a, Avx512 b) { return Avx512(_mm512_add_ps(a.lanes, b.lanes)); }
NIBBLE_HD Avx512 subtract(Avx512 a, Avx512 b) { return Avx512(_mm512_sub_ps(a.lanes, b.lanes)); }
NIBBLE_HD Avx512 multiply(Avx512 a, Avx512 b) { return Avx512(_mm512_mul_ps(a.lanes, b.lanes)); }
NIBBLE_HD Avx512 divide(Avx512 a, Avx512 b) { return Avx512(_mm512_div_ps(a.lanes, b.lanes)); }

template <class T>
NIBBLE_HD Avx512 round_to(Avx512 a) {
  if constexpr (std::is_same_v<T, BFloat16>) {
    return Avx512(_mm512_castsi512_ps(a.rounded_to_bfloat16()));
  } else if constexpr (std::is_same_v<T, Float16>) {
    return Avx512(_mm512_cvtph_ps(_mm512_cvtps_ph(a.lanes, _MM_FROUND_TO_NEAREST_INT)));
  } else {
    return a;
  }
}

NIBBLE_HD Avx512 select(Avx512::Mask condition, Avx512 a, Avx512 b) {
  return Avx512(_mm512_mask_blend_ps(condition, b.lanes, a.lanes));
}
NIBBLE_HD Avx512::Mask within(Avx512 a, Avx512 low, Avx512 high) {
  return _mm512_mask_cmp_ps_mask(_mm512_cmp_ps_mask(a.lanes, low.lanes, _CMP_GE_OQ), a.lanes,
                                 high.lanes, _CMP_LE_OQ);
}
NIBBLE_HD Avx512::Mask is_nan(Avx512 a) {
  return _mm512_cmp_ps_mask(a.lanes, a.lanes, _CMP_UNORD_Q);
}
// The instructions give the second operand where either is NaN: that keeps a NaN of `b`, and the
// blend brings in one of `a`.
NIBBLE_HD Avx512 nan_min(Avx512 a, Avx512 b) {
  return select(is_nan(a), a, Avx512(_mm512_min_ps(a.lanes, b.lanes)));
}
NIBBLE_HD Avx512 nan_max(Avx512 a, Avx512 b) {
  return select(is_nan(a), a, Avx512(_mm512_max_ps(a.lanes, b.lanes)));
}
NIBBLE_HD Avx512 nan_clamp(Avx512 a, Avx512 low, Avx512 high) {
  return Avx512(_mm512_min_ps(high.lanes, _mm512_max_ps(low.lanes, a.lanes)));
}

/// The extreme over the lanes, NaN if there is one.
NIBBLE_HD float reduce_min(Avx512 a) {
  return is_nan(a) != 0 ? __builtin_nanf("") : _mm512_reduce_min_ps(a.lanes);
}
NIBBLE_HD float reduce_max(Avx512 a) {
  return is_nan(a) != 0 ? __builtin_nanf("") : _mm512_reduce_max_ps(a.lanes);
}

}  // namespace nibble::kernels::cpu
