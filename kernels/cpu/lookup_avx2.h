#pragma once

#include "simd_avx2.h"

namespace nibble::kernels::cpu {

/// The look-ups of quantized_linear_simd.h in float32: AVX2 with FMA.
struct LookupAvx2 {
  using Floats = Avx2;
  using Element = float;
  using Sum = __m256;
  struct Table {
    __m256 low, high;  ///< of codes 0 to 7 and 8 to 15
  };
  using Codes = __m256i;
  static constexpr int64_t kBlock = 16;
  static constexpr int kGroupsInTable = 1;
  static constexpr bool kRounds = false;
  static constexpr int kTokens = 2;

  template <class D>
  NIBBLE_HD static void arrange(const D* input, float* arranged) {
    const __m256 first = Avx2::load(input).lanes, second = Avx2::load(input + 8).lanes;
    store_in_order(_mm256_shuffle_ps(first, second, 0x88), arranged);
    store_in_order(_mm256_shuffle_ps(first, second, 0xdd), arranged + 8);
  }
  /// `values_of` gives the values of codes, which come less the smallest one.
  template <class ValuesOf>
  NIBBLE_HD static Table make_table(const ValuesOf& values_of) {
    return {values_of(Avx2(_mm256_setr_ps(0, 1, 2, 3, 4, 5, 6, 7))).lanes,
            values_of(Avx2(_mm256_setr_ps(8, 9, 10, 11, 12, 13, 14, 15))).lanes};
  }
  /// A byte a lane: an even column's code in its lower half, the odd one's in the upper half.
  NIBBLE_HD static Codes load_codes(const uint8_t* packed, bool) {
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(packed)));
  }
  NIBBLE_HD static __m256 look_up_even(const Table& table, Codes codes) {
    // The permutations read the lowest three bits of an index; the fourth, as a sign, chooses.
    const __m256 is_high = _mm256_castsi256_ps(_mm256_slli_epi32(codes, 28));
    return _mm256_blendv_ps(_mm256_permutevar8x32_ps(table.low, codes),
                            _mm256_permutevar8x32_ps(table.high, codes), is_high);
  }
  NIBBLE_HD static __m256 look_up_odd(const Table& table, Codes codes) {
    return look_up_even(table, _mm256_srli_epi32(codes, 4));
  }
  NIBBLE_HD static Sum zero() { return _mm256_setzero_ps(); }
  NIBBLE_HD static Sum multiply_add(__m256 weights, const float* input, Sum sum) {
    return _mm256_fmadd_ps(weights, _mm256_loadu_ps(input), sum);
  }
  NIBBLE_HD static float sum_of_lanes(Sum a, Sum b) {
    const __m256 sum = _mm256_add_ps(a, b);
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(sum), _mm256_extractf128_ps(sum, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
  }

 private:
  NIBBLE_HD static void store_in_order(__m256 shuffled, float* target) {
    const __m256d pairs = _mm256_permute4x64_pd(_mm256_castps_pd(shuffled), 0xd8);
    _mm256_storeu_ps(target, _mm256_castpd_ps(pairs));
  }
};

}  // namespace nibble::kernels::cpu
