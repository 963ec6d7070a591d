#pragma once

#include <cstring>
#include <type_traits>

#include "simd_avx512.h"

namespace nibble::kernels::cpu {

/// The integer instructions of int8_linear_simd.h: AVX-512 with VNNI.
struct Int8Avx512Vnni {
  using Register = __m512i;
  using FloatRegister = __m512;
  using Floats = Avx512;
  static constexpr int kLanes = 16;
  static constexpr int kVectors = 2;
  static constexpr int kTokens = 6;  ///< 24 registers of sums, of 32
  static constexpr int kFewTokens = 4;

  NIBBLE_HD static Register zero() { return _mm512_setzero_si512(); }
  NIBBLE_HD static FloatRegister float_zero() { return _mm512_setzero_ps(); }
  NIBBLE_HD static Register load(const void* source) { return _mm512_loadu_si512(source); }
  NIBBLE_HD static FloatRegister load_floats(const float* source) {
    return _mm512_loadu_ps(source);
  }
  NIBBLE_HD static void store(Register value, void* target) { _mm512_storeu_si512(target, value); }
  /// `count` lanes, zeros after them.
  NIBBLE_HD static Register load(const void* source, int64_t count) {
    return _mm512_maskz_loadu_epi32(first(count), source);
  }
  template <class T>
  NIBBLE_HD static Register load_as_floats(const T* source, int64_t count) {
    if constexpr (std::is_same_v<T, float>) {
      return load(source, count);
    } else {
      const __m256i halves = _mm256_maskz_loadu_epi16(first(count), source);
      if constexpr (std::is_same_v<T, BFloat16>) {
        return _mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16);
      } else {
        return _mm512_castps_si512(_mm512_cvtph_ps(halves));
      }
    }
  }
  NIBBLE_HD static Register broadcast(uint32_t value) {
    return _mm512_set1_epi32(static_cast<int>(value));
  }
  NIBBLE_HD static Register broadcast(const uint8_t* four) {
    int value;
    memcpy(&value, four, sizeof(value));
    return _mm512_set1_epi32(value);
  }

  NIBBLE_HD static Register add(Register a, Register b) { return _mm512_add_epi32(a, b); }
  /// sum + the four products of a lane.
  NIBBLE_HD static Register dot_bytes(Register sum, Register unsigned_bytes, Register bytes) {
    return _mm512_dpbusd_epi32(sum, unsigned_bytes, bytes);
  }
  /// The sum of the two products of a lane's 16-bit halves.
  NIBBLE_HD static Register dot_pairs(Register a, Register b) { return _mm512_madd_epi16(a, b); }
  NIBBLE_HD static FloatRegister fused_multiply_add(Register a, FloatRegister b, FloatRegister c) {
    return _mm512_fmadd_ps(_mm512_cvtepi32_ps(a), b, c);
  }

  /// The codes of low or high nibbles as bytes.
  NIBBLE_HD static Register low_codes(Register packed) {
    const Register nibbles = _mm512_and_si512(packed, _mm512_set1_epi8(0x0f));
    return _mm512_sub_epi8(nibbles, _mm512_set1_epi8(8));
  }
  NIBBLE_HD static Register high_codes(Register packed) {
    return low_codes(_mm512_srli_epi16(packed, 4));
  }
  /// Of each lane: a / 128, rounded down, in the upper half, a % 128 in the lower one.
  NIBBLE_HD static Register split(Register a) {
    const Register upper = _mm512_slli_epi32(_mm512_srai_epi32(a, 7), 16);
    return _mm512_or_si512(upper, _mm512_and_si512(a, _mm512_set1_epi32(127)));
  }
  NIBBLE_HD static Register arrange(Register codes) {
    const __m128i order = _mm_setr_epi8(0, 2, 4, 6, 1, 3, 5, 7, 8, 10, 12, 14, 9, 11, 13, 15);
    const Register arranged = _mm512_shuffle_epi8(codes, _mm512_broadcast_i32x4(order));
    return _mm512_xor_si512(arranged, _mm512_set1_epi8(static_cast<char>(0x80)));
  }

  /// Lane j of register i to lane i of register j.
  NIBBLE_HD static void transpose(Register (&rows)[kLanes]) {
    Register pairs[kLanes], fours[kLanes], eights[kLanes];
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; i += 2) {
      pairs[i] = _mm512_unpacklo_epi32(rows[i], rows[i + 1]);
      pairs[i + 1] = _mm512_unpackhi_epi32(rows[i], rows[i + 1]);
    }
    // fours[4 b + c]: of rows 4 b to 4 b + 3, columns c, 4 + c, 8 + c, 12 + c.
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; i += 4) {
      fours[i] = _mm512_unpacklo_epi64(pairs[i], pairs[i + 2]);
      fours[i + 1] = _mm512_unpackhi_epi64(pairs[i], pairs[i + 2]);
      fours[i + 2] = _mm512_unpacklo_epi64(pairs[i + 1], pairs[i + 3]);
      fours[i + 3] = _mm512_unpackhi_epi64(pairs[i + 1], pairs[i + 3]);
    }
    // eights[8 b + c] and [8 b + 4 + c]: of rows 8 b to 8 b + 7, columns c and 8 + c, 4 + c and 12
    // + c.
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; i += 8) {
#pragma GCC unroll 4
      for (int c = 0; c < 4; ++c) {
        eights[i + c] = _mm512_shuffle_i32x4(fours[i + c], fours[i + 4 + c], 0x88);
        eights[i + 4 + c] = _mm512_shuffle_i32x4(fours[i + c], fours[i + 4 + c], 0xdd);
      }
    }
#pragma GCC unroll 16
    for (int c = 0; c < 8; ++c) {
      rows[c] = _mm512_shuffle_i32x4(eights[c], eights[8 + c], 0x88);
      rows[8 + c] = _mm512_shuffle_i32x4(eights[c], eights[8 + c], 0xdd);
    }
  }

 private:
  NIBBLE_HD static __mmask16 first(int64_t count) {
    return static_cast<__mmask16>((1u << count) - 1);
  }
};

}  // namespace nibble::kernels::cpu
