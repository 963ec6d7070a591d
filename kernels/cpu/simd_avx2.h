#pragma once

#include <nibble/numerics/float_types.h>

#include <cstring>
#include <immintrin.h>
#include <type_traits>

/// Eight floats with the operations of numerics/float_types.h, lane by lane the same bits.
namespace nibble::kernels::cpu {

using numerics::BFloat16;
using numerics::Float16;

struct Avx2 {
  static constexpr int64_t kLanes = 8;
  /// All ones in the lanes that are set.
  struct Mask {
    __m256 lanes;
  };
  /// The lanes in memory.
  struct alignas(32) Stored {
    float values[kLanes];
  };

  __m256 lanes;

  Avx2() = default;
  NIBBLE_HD explicit Avx2(__m256 value) : lanes(value) {}
  NIBBLE_HD explicit Avx2(float value) : lanes(_mm256_set1_ps(value)) {}

  NIBBLE_HD static Avx2 load(const float* source) { return Avx2(_mm256_loadu_ps(source)); }
  NIBBLE_HD static Avx2 load(const BFloat16* source) {
    const __m256i wide = _mm256_cvtepu16_epi32(load_half(source));
    return Avx2(_mm256_castsi256_ps(_mm256_slli_epi32(wide, 16)));
  }
  NIBBLE_HD static Avx2 load(const Float16* source) {
    return Avx2(_mm256_cvtph_ps(load_half(source)));
  }
  NIBBLE_HD static Avx2 load(const int8_t* source) {
    const __m128i codes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(source));
    return Avx2(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(codes)));
  }

  NIBBLE_HD void store(float* target) const { _mm256_storeu_ps(target, lanes); }
  /// Lanes that are exact in the target's type.
  NIBBLE_HD void store(BFloat16* target) const {
    const __m256i upper = _mm256_srli_epi32(_mm256_castps_si256(lanes), 16);
    store_half(target, _mm_packus_epi32(lower_half(upper), upper_half(upper)));
  }
  NIBBLE_HD void store(Float16* target) const {
    store_half(target, _mm256_cvtps_ph(lanes, _MM_FROUND_TO_NEAREST_INT));
  }
  /// Codes; NaN becomes 0.
  NIBBLE_HD void store(int8_t* target) const {
    const __m256i codes = to_integers();
    const __m128i words = _mm_packs_epi32(lower_half(codes), upper_half(codes));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(target), _mm_packs_epi16(words, words));
  }

  /// An integer from 0 to 15 a lane: int4 codes as they are packed.
  struct Nibbles {
    __m256i lanes;

    /// The first in the lowest bits.
    NIBBLE_HD static Nibbles load(const uint8_t* packed) {
      int word;
      memcpy(&word, packed, sizeof(word));
      const __m128i pairs = _mm_cvtsi32_si128(word);
      const __m128i low = _mm_and_si128(pairs, _mm_set1_epi8(0x0f));
      const __m128i high = _mm_and_si128(_mm_srli_epi16(pairs, 4), _mm_set1_epi8(0x0f));
      return {_mm256_cvtepu8_epi32(_mm_unpacklo_epi8(low, high))};
    }
    NIBBLE_HD static Nibbles load_unpacked(const int8_t* source) {
      return {_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(source)))};
    }
    NIBBLE_HD void store(uint8_t* packed) const {
      const __m128i pairs = _mm_maddubs_epi16(bytes(), _mm_set1_epi16(0x1001));
      const int word = _mm_cvtsi128_si32(_mm_packus_epi16(pairs, pairs));
      memcpy(packed, &word, sizeof(word));
    }
    NIBBLE_HD void store_unpacked(int8_t* target) const {
      _mm_storel_epi64(reinterpret_cast<__m128i*>(target), bytes());
    }

   private:
    NIBBLE_HD __m128i bytes() const {
      const __m128i words = _mm_packs_epi32(lower_half(lanes), upper_half(lanes));
      return _mm_packus_epi16(words, words);
    }
  };
  /// Codes minus `smallest`; NaN is the code 0, as the lowest bits of what it converts to are 0.
  NIBBLE_HD Nibbles to_nibbles(int smallest) const {
    const __m256i codes = _mm256_sub_epi32(_mm256_cvtps_epi32(lanes), _mm256_set1_epi32(smallest));
    return {_mm256_and_si256(codes, _mm256_set1_epi32(0x0f))};
  }
  NIBBLE_HD static Avx2 from_nibbles(Nibbles nibbles) {
    return Avx2(_mm256_cvtepi32_ps(nibbles.lanes));
  }

  /// A value for each nibble.
  class Table {
   public:
    template <class Function>
    NIBBLE_HD explicit Table(Function value_of)
        : low_(value_of(from_nibbles({_mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)})).lanes),
          high_(value_of(from_nibbles({_mm256_setr_epi32(8, 9, 10, 11, 12, 13, 14, 15)})).lanes) {}
    NIBBLE_HD Avx2 operator[](Nibbles nibbles) const {
      const __m256 is_high = _mm256_castsi256_ps(_mm256_slli_epi32(nibbles.lanes, 28));
      return Avx2(_mm256_blendv_ps(_mm256_permutevar8x32_ps(low_, nibbles.lanes),
                                   _mm256_permutevar8x32_ps(high_, nibbles.lanes), is_high));
    }

   private:
    __m256 low_, high_;
  };

  NIBBLE_HD static Mask mask_from_bits(uint32_t bits) {
    const __m256i lane_bit = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    const __m256i chosen = _mm256_and_si256(_mm256_set1_epi32(static_cast<int>(bits)), lane_bit);
    return {_mm256_castsi256_ps(_mm256_cmpeq_epi32(chosen, lane_bit))};
  }
  NIBBLE_HD static uint32_t bits_of(Mask mask) {
    return static_cast<uint32_t>(_mm256_movemask_ps(mask.lanes));
  }
  NIBBLE_HD static Mask either(Mask a, Mask b) { return {_mm256_or_ps(a.lanes, b.lanes)}; }

  /// The bits of a float whose lower half is 0.
  NIBBLE_HD __m256i rounded_to_bfloat16() const {
    const __m256i bits = _mm256_castps_si256(lanes);
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    const __m256i half = _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff));
    const __m256i rounded = _mm256_add_epi32(bits, half);
    const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x00400000));
    const __m256 is_nan = _mm256_cmp_ps(lanes, lanes, _CMP_UNORD_Q);
    const __m256i result = _mm256_blendv_epi8(rounded, quiet, _mm256_castps_si256(is_nan));
    return _mm256_and_si256(result, _mm256_set1_epi32(static_cast<int>(0xffff0000u)));
  }

  NIBBLE_HD static __m128i lower_half(__m256i value) { return _mm256_castsi256_si128(value); }
  NIBBLE_HD static __m128i upper_half(__m256i value) { return _mm256_extracti128_si256(value, 1); }

 private:
  NIBBLE_HD __m256i to_integers() const {
    const __m256 ordered = _mm256_cmp_ps(lanes, lanes, _CMP_ORD_Q);
    return _mm256_cvtps_epi32(_mm256_and_ps(ordered, lanes));
  }
  NIBBLE_HD static __m128i load_half(const void* source) {
    return _mm_loadu_si128(static_cast<const __m128i*>(source));
  }
  NIBBLE_HD static void store_half(void* target, __m128i value) {
    _mm_storeu_si128(static_cast<__m128i*>(target), value);
  }
};

NIBBLE_HD Avx2 add(Avx2 a, Avx2 b) { return Avx2(_mm256_add_ps(a.lanes, b.lanes)); }
NIBBLE_HD Avx2 subtract(Avx2 a, Avx2 b) { return Avx2(_mm256_sub_ps(a.lanes, b.lanes)); }
NIBBLE_HD Avx2 multiply(Avx2 a, Avx2 b) { return Avx2(_mm256_mul_ps(a.lanes, b.lanes)); }
/// a b + c, rounded once.
NIBBLE_HD Avx2 fused_multiply_add(Avx2 a, Avx2 b, Avx2 c) {
  return Avx2(_mm256_fmadd_ps(a.lanes, b.lanes, c.lanes));
}
NIBBLE_HD Avx2 divide(Avx2 a, Avx2 b) { return Avx2(_mm256_div_ps(a.lanes, b.lanes)); }
NIBBLE_HD Avx2 reciprocal(Avx2 a) { return divide(Avx2(1.0f), a); }

/// The nearest integer, halves to even.
NIBBLE_HD Avx2 round_to_integer(Avx2 a) {
  return Avx2(_mm256_round_ps(a.lanes, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
/// 2^a for integers -126..127.
NIBBLE_HD Avx2 power_of_two(Avx2 a) {
  const __m256i biased = _mm256_add_epi32(_mm256_cvtps_epi32(a.lanes), _mm256_set1_epi32(127));
  return Avx2(_mm256_castsi256_ps(_mm256_slli_epi32(biased, 23)));
}

template <class T>
NIBBLE_HD Avx2 round_to(Avx2 a) {
  if constexpr (std::is_same_v<T, BFloat16>) {
    return Avx2(_mm256_castsi256_ps(a.rounded_to_bfloat16()));
  } else if constexpr (std::is_same_v<T, Float16>) {
    return Avx2(_mm256_cvtph_ps(_mm256_cvtps_ph(a.lanes, _MM_FROUND_TO_NEAREST_INT)));
  } else {
    return a;
  }
}

NIBBLE_HD Avx2 magnitude(Avx2 a) {
  return Avx2(_mm256_castsi256_ps(
      _mm256_and_si256(_mm256_castps_si256(a.lanes), _mm256_set1_epi32(0x7fffffff))));
}

NIBBLE_HD Avx2 select(Avx2::Mask condition, Avx2 a, Avx2 b) {
  return Avx2(_mm256_blendv_ps(b.lanes, a.lanes, condition.lanes));
}
NIBBLE_HD Avx2::Mask within(Avx2 a, Avx2 low, Avx2 high) {
  return {_mm256_and_ps(_mm256_cmp_ps(a.lanes, low.lanes, _CMP_GE_OQ),
                        _mm256_cmp_ps(a.lanes, high.lanes, _CMP_LE_OQ))};
}
NIBBLE_HD bool all_moderate(Avx2 a, float low, float high) {
  const __m256 size = magnitude(a).lanes;
  const __m256 moderate = within(Avx2(size), Avx2(low), Avx2(high)).lanes;
  const __m256i zero = _mm256_cmpeq_epi32(_mm256_castps_si256(a.lanes), _mm256_setzero_si256());
  return _mm256_movemask_ps(_mm256_or_ps(moderate, _mm256_castsi256_ps(zero))) == 0xff;
}
/// The lanes in which either is NaN.
NIBBLE_HD Avx2::Mask unordered(Avx2 a, Avx2 b) {
  return {_mm256_cmp_ps(a.lanes, b.lanes, _CMP_UNORD_Q)};
}
/// The smaller and the larger one; `b` where either is NaN.
NIBBLE_HD Avx2 ordered_min(Avx2 a, Avx2 b) { return Avx2(_mm256_min_ps(a.lanes, b.lanes)); }
NIBBLE_HD Avx2 ordered_max(Avx2 a, Avx2 b) { return Avx2(_mm256_max_ps(a.lanes, b.lanes)); }
NIBBLE_HD Avx2::Mask is_nan(Avx2 a) { return {_mm256_cmp_ps(a.lanes, a.lanes, _CMP_UNORD_Q)}; }
// The instructions give the second operand where either is NaN: that keeps a NaN of `b`, and the
// blend brings in one of `a`.
NIBBLE_HD Avx2 nan_min(Avx2 a, Avx2 b) {
  return select(is_nan(a), a, Avx2(_mm256_min_ps(a.lanes, b.lanes)));
}
NIBBLE_HD Avx2 nan_max(Avx2 a, Avx2 b) {
  return select(is_nan(a), a, Avx2(_mm256_max_ps(a.lanes, b.lanes)));
}
NIBBLE_HD Avx2 nan_clamp(Avx2 a, Avx2 low, Avx2 high) {
  return Avx2(_mm256_min_ps(high.lanes, _mm256_max_ps(low.lanes, a.lanes)));
}

/// The larger of two magnitudes, NaN if there is one: without sign bits floats have the order of
/// integers, and NaN is above infinity.
NIBBLE_HD Avx2 max_magnitude(Avx2 a, Avx2 b) {
  return Avx2(_mm256_castsi256_ps(
      _mm256_max_epi32(_mm256_castps_si256(a.lanes), _mm256_castps_si256(b.lanes))));
}

/// Reduces eight registers at once: lane i of the result is row i's lanes under `op`.
template <class Op>
NIBBLE_HD Avx2 reduce_each(const Avx2::Stored (&rows)[8], Op op) {
  __m256 halves[4];  // the 128-bit lanes: partial results of rows i and i + 4
  for (int i = 0; i < 4; ++i) {
    const __m256 a = _mm256_load_ps(rows[i].values), b = _mm256_load_ps(rows[i + 4].values);
    halves[i] =
        op(Avx2(_mm256_permute2f128_ps(a, b, 0x20)), Avx2(_mm256_permute2f128_ps(a, b, 0x31)))
            .lanes;
  }
  const auto pairs = [&](__m256 a, __m256 b) {
    return op(Avx2(_mm256_unpacklo_ps(a, b)), Avx2(_mm256_unpackhi_ps(a, b))).lanes;
  };
  const __m256 even = pairs(halves[0], halves[1]), odd = pairs(halves[2], halves[3]);
  return op(Avx2(_mm256_shuffle_ps(even, odd, 0x44)), Avx2(_mm256_shuffle_ps(even, odd, 0xee)));
}

/// The extreme of each row of lanes: of magnitudes NaN if there is one, else of rows without any.
NIBBLE_HD Avx2 min_of_each(const Avx2::Stored (&rows)[8]) {
  return reduce_each(rows, [](Avx2 a, Avx2 b) { return ordered_min(a, b); });
}
NIBBLE_HD Avx2 max_of_each(const Avx2::Stored (&rows)[8]) {
  return reduce_each(rows, [](Avx2 a, Avx2 b) { return ordered_max(a, b); });
}
NIBBLE_HD Avx2 max_magnitude_of_each(const Avx2::Stored (&rows)[8]) {
  return reduce_each(rows, [](Avx2 a, Avx2 b) { return max_magnitude(a, b); });
}

/// The sum over the lanes, halves first.
NIBBLE_HD float reduce_sum(Avx2 a) {
  const __m128 four =
      _mm_add_ps(_mm256_castps256_ps128(a.lanes), _mm256_extractf128_ps(a.lanes, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

}  // namespace nibble::kernels::cpu
