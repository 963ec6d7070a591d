#pragma once

#include "simd_avx512.h"

namespace nibble::kernels::cpu {

/// The look-ups of quantized_linear_simd.h in float32: AVX-512.
struct LookupAvx512 {
  using Floats = Avx512;
  using Element = float;
  using Sum = __m512;
  using Table = __m512;
  using Codes = __m512i;
  static constexpr int64_t kBlock = 32;
  static constexpr int kGroupsInTable = 1;
  static constexpr bool kRounds = false;
  static constexpr int kTokens = 4;

  template <class D>
  NIBBLE_HD static void arrange(const D* input, float* arranged) {
    const __m512 first = Avx512::load(input).lanes, second = Avx512::load(input + 16).lanes;
    const __m512i even =
        _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    const __m512i odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
    _mm512_storeu_ps(arranged, _mm512_permutex2var_ps(first, even, second));
    _mm512_storeu_ps(arranged + 16, _mm512_permutex2var_ps(first, odd, second));
  }
  /// `values_of` gives the values of codes, which come less the smallest one.
  template <class ValuesOf>
  NIBBLE_HD static Table make_table(const ValuesOf& values_of) {
    return values_of(numbers()).lanes;
  }
  /// A byte a lane: an even column's code in its lower half, the odd one's in the upper half.
  NIBBLE_HD static Codes load_codes(const uint8_t* packed, bool) {
    return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(packed)));
  }
  // The permutation reads the lowest four bits of an index.
  NIBBLE_HD static __m512 look_up_even(Table table, Codes codes) {
    return _mm512_permutexvar_ps(codes, table);
  }
  NIBBLE_HD static __m512 look_up_odd(Table table, Codes codes) {
    return _mm512_permutexvar_ps(_mm512_srli_epi32(codes, 4), table);
  }
  NIBBLE_HD static Sum zero() { return _mm512_setzero_ps(); }
  NIBBLE_HD static Sum multiply_add(__m512 weights, const float* input, Sum sum) {
    return _mm512_fmadd_ps(weights, _mm512_loadu_ps(input), sum);
  }
  NIBBLE_HD static float sum_of_lanes(Sum a, Sum b) {
    return _mm512_reduce_add_ps(_mm512_add_ps(a, b));
  }

  NIBBLE_HD static Avx512 numbers() {
    return Avx512(_mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
  }
};

}  // namespace nibble::kernels::cpu
