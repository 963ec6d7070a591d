#pragma once

#include "simd_avx2.h"

namespace nibble::kernels::cpu {

/// The instructions of quantized_linear_simd.h: AVX2 with FMA.
struct NibblesAvx2 {
  using Floats = Avx2;
  using Register = __m256;
  using Codes = __m256i;
  static constexpr int64_t kLanes = 8;
  static constexpr int kTokens = 4;

  NIBBLE_HD static Register zero() { return _mm256_setzero_ps(); }
  NIBBLE_HD static Register load(const float* source) { return _mm256_loadu_ps(source); }
  NIBBLE_HD static Register add(Register a, Register b) { return _mm256_add_ps(a, b); }
  NIBBLE_HD static Register multiply(Register a, Register b) { return _mm256_mul_ps(a, b); }
  NIBBLE_HD static Register multiply(Register a, const float* b) {
    return _mm256_mul_ps(a, load(b));
  }
  NIBBLE_HD static Register multiply_add(Register a, const float* b, Register c) {
    return _mm256_fmadd_ps(a, load(b), c);
  }
  NIBBLE_HD static Register multiply_add(Register a, Register b, Register c) {
    return _mm256_fmadd_ps(a, b, c);
  }
  /// Lane i of the result is source[index[i]], index 0..7.
  NIBBLE_HD static Register pick(const float* source, const int32_t* index) {
    return _mm256_permutevar8x32_ps(load(source),
                                    _mm256_loadu_si256(reinterpret_cast<const __m256i*>(index)));
  }
  NIBBLE_HD static float sum_of_lanes(Register a) { return reduce_sum(Avx2(a)); }

  /// Eight nibbles a lane, their highest bits flipped: two's complement of the nibble less 8. Lanes
  /// from `count` on are of no meaning.
  NIBBLE_HD static Codes load_codes(const uint8_t* packed, int64_t count) {
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    const __m256i wanted = _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count)), lane);
    const __m256i nibbles = _mm256_maskload_epi32(reinterpret_cast<const int*>(packed), wanted);
    return _mm256_xor_si256(nibbles, _mm256_set1_epi32(static_cast<int>(0x88888888u)));
  }
  /// Nibble i of each lane as a number less 8.
  template <int i>
  NIBBLE_HD static Register code(Codes codes) {
    const __m256i on_top = _mm256_slli_epi32(codes, 28 - 4 * i);
    return _mm256_cvtepi32_ps(_mm256_srai_epi32(on_top, 28));
  }
};

}  // namespace nibble::kernels::cpu
