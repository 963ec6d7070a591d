#pragma once

#include "lookup_avx512.h"

namespace nibble::kernels::cpu {

/// The look-ups of quantized_linear_simd.h in bfloat16: AVX-512 with its bfloat16 instructions.
/// They flush subnormals: the product of a bfloat16 below 2^-126 is nothing beside any other.
struct LookupAvx512Bf16 {
  using Floats = Avx512;
  using Element = BFloat16;
  using Sum = __m512;
  using Table = __m512i;  ///< sixteen bfloat16 of each half's group
  using Codes = __m512i;
  static constexpr int64_t kBlock = 64;
  static constexpr int kGroupsInTable = 2;
  static constexpr bool kRounds = true;
  static constexpr int kTokens = 4;

  NIBBLE_HD static void arrange(const BFloat16* input, BFloat16* arranged) {
    const __m512i first = _mm512_loadu_si512(input), second = _mm512_loadu_si512(input + 32);
    // Even elements are the lower halves of 32-bit lanes, odd ones the upper halves.
    _mm512_storeu_si512(arranged, join(_mm512_cvtepi32_epi16(first), _mm512_cvtepi32_epi16(second)));
    _mm512_storeu_si512(arranged + 32,
                        join(_mm512_cvtepi32_epi16(_mm512_srli_epi32(first, 16)),
                             _mm512_cvtepi32_epi16(_mm512_srli_epi32(second, 16))));
  }
  template <class ValuesOf>
  NIBBLE_HD static Table make_table(const ValuesOf& of_first, const ValuesOf& of_second) {
    const Avx512 numbers = LookupAvx512::numbers();
    return reinterpret_cast<__m512i>(
        _mm512_cvtne2ps_pbh(of_second(numbers).lanes, of_first(numbers).lanes));
  }
  /// A byte a lane: an even column's code in its lower half, the odd one's in the upper half.
  NIBBLE_HD static Codes load_codes(const uint8_t* packed, bool is_whole) {
    const __mmask32 bytes = is_whole ? 0xffffffffu : 0x0000ffffu;
    return _mm512_cvtepu8_epi16(_mm256_maskz_loadu_epi8(bytes, packed));
  }
  NIBBLE_HD static __m512i look_up_even(Table table, Codes codes) {
    constexpr int kAAndBOrC = 0xea;
    const __m512i index =
        _mm512_ternarylogic_epi32(codes, _mm512_set1_epi16(0x0f), halves(), kAAndBOrC);
    return _mm512_permutexvar_epi16(index, table);
  }
  NIBBLE_HD static __m512i look_up_odd(Table table, Codes codes) {
    const __m512i index = _mm512_or_si512(_mm512_srli_epi16(codes, 4), halves());
    return _mm512_permutexvar_epi16(index, table);
  }
  NIBBLE_HD static Sum zero() { return _mm512_setzero_ps(); }
  NIBBLE_HD static Sum multiply_add(__m512i weights, const BFloat16* input, Sum sum) {
    return _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(weights),
                            reinterpret_cast<__m512bh>(_mm512_loadu_si512(input)));
  }
  NIBBLE_HD static float sum_of_lanes(Sum a, Sum b) { return LookupAvx512::sum_of_lanes(a, b); }

 private:
  NIBBLE_HD static __m512i join(__m256i low, __m256i high) {
    return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
  }
  /// Where in the table the values of each lane's group begin.
  NIBBLE_HD static __m512i halves() {
    return join(_mm256_setzero_si256(), _mm256_set1_epi16(16));
  }
};

}  // namespace nibble::kernels::cpu
