#pragma once

#include "simd_avx512.h"

namespace nibble::kernels::cpu {

/// The instructions of quantized_linear_simd.h: AVX-512.
struct NibblesAvx512 {
  using Floats = Avx512;
  using Register = __m512;
  using Codes = __m512i;
  static constexpr int64_t kLanes = 16;
  static constexpr int kTokens = 4;

  NIBBLE_HD static Register zero() { return _mm512_setzero_ps(); }
  NIBBLE_HD static Register load(const float* source) { return _mm512_loadu_ps(source); }
  NIBBLE_HD static Register add(Register a, Register b) { return _mm512_add_ps(a, b); }
  NIBBLE_HD static Register multiply(Register a, Register b) { return _mm512_mul_ps(a, b); }
  NIBBLE_HD static Register multiply(Register a, const float* b) {
    return _mm512_mul_ps(a, load(b));
  }
  NIBBLE_HD static Register multiply_add(Register a, const float* b, Register c) {
    return _mm512_fmadd_ps(a, load(b), c);
  }
  NIBBLE_HD static Register multiply_add(Register a, Register b, Register c) {
    return _mm512_fmadd_ps(a, b, c);
  }
  /// Lane i of the result is source[index[i]], index 0..15.
  NIBBLE_HD static Register pick(const float* source, const int32_t* index) {
    return _mm512_permutexvar_ps(_mm512_loadu_si512(index), load(source));
  }
  NIBBLE_HD static float sum_of_lanes(Register a) { return reduce_sum(Avx512(a)); }

  /// Eight nibbles a lane; zeros from lane `count` on.
  NIBBLE_HD static Codes load_codes(const uint8_t* packed, int64_t count) {
    return _mm512_maskz_loadu_epi32(static_cast<__mmask16>((1u << count) - 1), packed);
  }
  /// Nibble i of each lane as a number less 8. The permutation reads an index's lowest four bits.
  template <int i>
  NIBBLE_HD static Register code(Codes codes) {
    const Register values = _mm512_setr_ps(-8, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7);
    return _mm512_permutexvar_ps(_mm512_srli_epi32(codes, 4 * i), values);
  }
};

}  // namespace nibble::kernels::cpu
