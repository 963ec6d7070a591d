#pragma once

#include <cstring>
#include <type_traits>

#include "simd_avx2.h"

namespace nibble::kernels::cpu {

/// The integer instructions of int8_linear_simd.h: AVX2 with FMA.
struct Int8Avx2 {
  using Register = __m256i;
  using FloatRegister = __m256;
  using Floats = Avx2;
  static constexpr int kLanes = 8;
  static constexpr int kVectors = 2;
  static constexpr int kTokens = 2;  ///< 8 registers of sums, of 16
  static constexpr int kFewTokens = 2;

  NIBBLE_HD static Register zero() { return _mm256_setzero_si256(); }
  NIBBLE_HD static FloatRegister float_zero() { return _mm256_setzero_ps(); }
  NIBBLE_HD static Register load(const void* source) {
    return _mm256_loadu_si256(static_cast<const __m256i*>(source));
  }
  NIBBLE_HD static FloatRegister load_floats(const float* source) {
    return _mm256_loadu_ps(source);
  }
  NIBBLE_HD static void store(Register value, void* target) {
    _mm256_storeu_si256(static_cast<__m256i*>(target), value);
  }
  /// `count` lanes, zeros after them.
  NIBBLE_HD static Register load(const void* source, int64_t count) {
    const Register lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    const Register wanted = _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count)), lane);
    return _mm256_maskload_epi32(static_cast<const int*>(source), wanted);
  }
  template <class T>
  NIBBLE_HD static Register load_as_floats(const T* source, int64_t count) {
    if (count == kLanes) return _mm256_castps_si256(Avx2::load(source).lanes);
    T values[kLanes] = {};
    memcpy(values, source, static_cast<size_t>(count) * sizeof(T));
    return _mm256_castps_si256(Avx2::load(values).lanes);
  }
  NIBBLE_HD static Register broadcast(uint32_t value) {
    return _mm256_set1_epi32(static_cast<int>(value));
  }
  NIBBLE_HD static Register broadcast(const uint8_t* four) {
    int value;
    memcpy(&value, four, sizeof(value));
    return _mm256_set1_epi32(value);
  }

  NIBBLE_HD static Register add(Register a, Register b) { return _mm256_add_epi32(a, b); }
  /// sum + the four products of a lane. Codes are small: no pair of products reaches 16 bits.
  NIBBLE_HD static Register dot_bytes(Register sum, Register unsigned_bytes, Register codes) {
    const Register pairs = _mm256_maddubs_epi16(unsigned_bytes, codes);
    return add(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
  }
  /// The sum of the two products of a lane's 16-bit halves.
  NIBBLE_HD static Register dot_pairs(Register a, Register b) { return _mm256_madd_epi16(a, b); }
  NIBBLE_HD static FloatRegister fused_multiply_add(Register a, FloatRegister b, FloatRegister c) {
    return _mm256_fmadd_ps(_mm256_cvtepi32_ps(a), b, c);
  }

  /// The codes of low or high nibbles as bytes.
  NIBBLE_HD static Register low_codes(Register packed) {
    const Register nibbles = _mm256_and_si256(packed, _mm256_set1_epi8(0x0f));
    return _mm256_sub_epi8(nibbles, _mm256_set1_epi8(8));
  }
  NIBBLE_HD static Register high_codes(Register packed) {
    return low_codes(_mm256_srli_epi16(packed, 4));
  }
  /// Of each lane: a / 128, rounded down, in the upper half, a % 128 in the lower one.
  NIBBLE_HD static Register split(Register a) {
    const Register upper = _mm256_slli_epi32(_mm256_srai_epi32(a, 7), 16);
    return _mm256_or_si256(upper, _mm256_and_si256(a, _mm256_set1_epi32(127)));
  }
  NIBBLE_HD static Register arrange(Register codes) {
    const __m128i order = _mm_setr_epi8(0, 2, 4, 6, 1, 3, 5, 7, 8, 10, 12, 14, 9, 11, 13, 15);
    const Register arranged = _mm256_shuffle_epi8(codes, _mm256_broadcastsi128_si256(order));
    return _mm256_xor_si256(arranged, _mm256_set1_epi8(static_cast<char>(0x80)));
  }

  /// Lane j of register i to lane i of register j.
  NIBBLE_HD static void transpose(Register (&rows)[kLanes]) {
    Register pairs[kLanes], fours[kLanes];
#pragma GCC unroll 8
    for (int i = 0; i < kLanes; i += 2) {
      pairs[i] = _mm256_unpacklo_epi32(rows[i], rows[i + 1]);
      pairs[i + 1] = _mm256_unpackhi_epi32(rows[i], rows[i + 1]);
    }
    // fours[4 b + c]: of rows 4 b to 4 b + 3, columns c and 4 + c.
#pragma GCC unroll 8
    for (int i = 0; i < kLanes; i += 4) {
      fours[i] = _mm256_unpacklo_epi64(pairs[i], pairs[i + 2]);
      fours[i + 1] = _mm256_unpackhi_epi64(pairs[i], pairs[i + 2]);
      fours[i + 2] = _mm256_unpacklo_epi64(pairs[i + 1], pairs[i + 3]);
      fours[i + 3] = _mm256_unpackhi_epi64(pairs[i + 1], pairs[i + 3]);
    }
#pragma GCC unroll 8
    for (int c = 0; c < 4; ++c) {
      rows[c] = _mm256_permute2x128_si256(fours[c], fours[4 + c], 0x20);
      rows[4 + c] = _mm256_permute2x128_si256(fours[c], fours[4 + c], 0x31);
    }
  }
};

}  // namespace nibble::kernels::cpu
