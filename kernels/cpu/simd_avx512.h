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
  /// The lanes in memory.
  struct alignas(64) Stored {
    float values[kLanes];
  };

  __m512 lanes;

  Avx512() = default;
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
  /// Lanes that are exact in the target's type.
  NIBBLE_HD void store(BFloat16* target) const {
    alignas(64) static constexpr uint16_t kUpperWords[32] = {1,  3,  5,  7,  9,  11, 13, 15,
                                                             17, 19, 21, 23, 25, 27, 29, 31};
    const __m512i upper =
        _mm512_permutexvar_epi16(_mm512_load_si512(kUpperWords), _mm512_castps_si512(lanes));
    store_half(target, _mm512_castsi512_si256(upper));
  }
  NIBBLE_HD void store(Float16* target) const {
    store_half(target, _mm512_cvtps_ph(lanes, _MM_FROUND_TO_NEAREST_INT));
  }
  /// Codes; NaN becomes 0.
  NIBBLE_HD void store(int8_t* target) const {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(target), _mm512_cvtepi32_epi8(to_integers()));
  }

  /// An integer from 0 to 15 in the lowest bits of each lane: int4 codes as they are packed. The
  /// bits from the eighth on say nothing.
  struct Nibbles {
    __m512i lanes;

    /// The first in the lowest bits.
    NIBBLE_HD static Nibbles load(const uint8_t* packed) {
      const __m128i pairs = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(packed));
      const __m128i low = _mm_and_si128(pairs, _mm_set1_epi8(0x0f));
      const __m128i high = _mm_and_si128(_mm_srli_epi16(pairs, 4), _mm_set1_epi8(0x0f));
      return {_mm512_cvtepu8_epi32(_mm_unpacklo_epi8(low, high))};
    }
    NIBBLE_HD static Nibbles load_unpacked(const int8_t* source) {
      return {_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(source)))};
    }
    NIBBLE_HD void store(uint8_t* packed) const {
      const __m128i pairs = _mm_maddubs_epi16(_mm512_cvtepi32_epi8(lanes), _mm_set1_epi16(0x1001));
      _mm_storel_epi64(reinterpret_cast<__m128i*>(packed), _mm_packus_epi16(pairs, pairs));
    }
    NIBBLE_HD void store_unpacked(int8_t* target) const {
      _mm_storeu_si128(reinterpret_cast<__m128i*>(target), _mm512_cvtepi32_epi8(lanes));
    }
  };
  /// Codes minus `smallest`; NaN is the code 0, as the lowest bits of what it converts to are 0.
  NIBBLE_HD Nibbles to_nibbles(int smallest) const {
    return {_mm512_sub_epi32(_mm512_cvtps_epi32(lanes), _mm512_set1_epi32(smallest))};
  }
  NIBBLE_HD static Avx512 from_nibbles(Nibbles nibbles) {
    return Avx512(_mm512_cvtepi32_ps(nibbles.lanes));
  }

  /// A value for each nibble.
  class Table {
   public:
    template <class Function>
    NIBBLE_HD explicit Table(Function value_of)
        : values_(value_of(from_nibbles({_mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12,
                                                           13, 14, 15)}))
                      .lanes) {}
    NIBBLE_HD Avx512 operator[](Nibbles nibbles) const {
      return Avx512(_mm512_permutexvar_ps(nibbles.lanes, values_));
    }

   private:
    __m512 values_;
  };

  NIBBLE_HD static Mask mask_from_bits(uint32_t bits) { return static_cast<Mask>(bits); }
  NIBBLE_HD static uint32_t bits_of(Mask mask) { return mask; }
  NIBBLE_HD static Mask either(Mask a, Mask b) { return _kor_mask16(a, b); }

  /// The bits of a float whose lower half is 0.
  NIBBLE_HD __m512i rounded_to_bfloat16() const {
    const __m512i bits = _mm512_castps_si512(lanes);
    const Mask odd = _mm512_test_epi32_mask(bits, _mm512_set1_epi32(0x00010000));
    const Mask unordered = _mm512_cmp_ps_mask(lanes, lanes, _CMP_UNORD_Q);
    __m512i rounded = _mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff));
    rounded = _mm512_mask_add_epi32(rounded, odd, bits, _mm512_set1_epi32(0x8000));
    rounded = _mm512_mask_or_epi32(rounded, unordered, bits, _mm512_set1_epi32(0x00400000));
    return _mm512_and_si512(rounded, _mm512_set1_epi32(static_cast<int>(0xffff0000u)));
  }

 private:
  NIBBLE_HD __m512i to_integers() const {
    const Mask ordered = _mm512_cmp_ps_mask(lanes, lanes, _CMP_ORD_Q);
    return _mm512_maskz_cvtps_epi32(ordered, lanes);
  }
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
/// a b + c, rounded once.
NIBBLE_HD Avx512 fused_multiply_add(Avx512 a, Avx512 b, Avx512 c) {
  return Avx512(_mm512_fmadd_ps(a.lanes, b.lanes, c.lanes));
}
NIBBLE_HD Avx512 divide(Avx512 a, Avx512 b) { return Avx512(_mm512_div_ps(a.lanes, b.lanes)); }
NIBBLE_HD Avx512 reciprocal(Avx512 a) { return divide(Avx512(1.0f), a); }

/// The nearest integer, halves to even.
NIBBLE_HD Avx512 round_to_integer(Avx512 a) {
  return Avx512(_mm512_roundscale_ps(a.lanes, _MM_FROUND_TO_NEAREST_INT));
}
/// 2^a for integers -126..127.
NIBBLE_HD Avx512 power_of_two(Avx512 a) {
  const __m512i biased = _mm512_add_epi32(_mm512_cvtps_epi32(a.lanes), _mm512_set1_epi32(127));
  return Avx512(_mm512_castsi512_ps(_mm512_slli_epi32(biased, 23)));
}

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
NIBBLE_HD bool all_moderate(Avx512 a, float low, float high) {
  const __m512i bits = _mm512_castps_si512(a.lanes);
  const __m512 size = _mm512_abs_ps(a.lanes);
  const Avx512::Mask moderate =
      _mm512_mask_cmp_ps_mask(_mm512_cmp_ps_mask(size, _mm512_set1_ps(low), _CMP_GE_OQ), size,
                              _mm512_set1_ps(high), _CMP_LE_OQ);
  return _kortestc_mask16_u8(moderate, _mm512_testn_epi32_mask(bits, bits)) != 0;
}
/// The lanes in which either is NaN.
NIBBLE_HD Avx512::Mask unordered(Avx512 a, Avx512 b) {
  return _mm512_cmp_ps_mask(a.lanes, b.lanes, _CMP_UNORD_Q);
}
/// The smaller and the larger one; `b` where either is NaN.
NIBBLE_HD Avx512 ordered_min(Avx512 a, Avx512 b) { return Avx512(_mm512_min_ps(a.lanes, b.lanes)); }
NIBBLE_HD Avx512 ordered_max(Avx512 a, Avx512 b) { return Avx512(_mm512_max_ps(a.lanes, b.lanes)); }
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

NIBBLE_HD Avx512 magnitude(Avx512 a) {
  return Avx512(_mm512_castsi512_ps(
      _mm512_and_si512(_mm512_castps_si512(a.lanes), _mm512_set1_epi32(0x7fffffff))));
}
/// The larger of two magnitudes, NaN if there is one: without sign bits floats have the order of
/// integers, and NaN is above infinity.
NIBBLE_HD Avx512 max_magnitude(Avx512 a, Avx512 b) {
  return Avx512(_mm512_castsi512_ps(
      _mm512_max_epi32(_mm512_castps_si512(a.lanes), _mm512_castps_si512(b.lanes))));
}

/// Reduces sixteen registers at once: lane i of the result is row i's lanes under `op`. Each step
/// halves the lanes that belong to a row and packs two registers into one.
template <class Op>
NIBBLE_HD Avx512 reduce_each(const Avx512::Stored (&rows)[16], Op op) {
  __m512 quarters[4];  // 128-bit lane q: partial results of one of four rows
  for (int i = 0; i < 4; ++i) {
    const auto row = [&](int step) { return _mm512_load_ps(rows[i + step].values); };
    const auto halves = [&](__m512 a, __m512 b) {
      return op(Avx512(_mm512_shuffle_f32x4(a, b, 0x44)), Avx512(_mm512_shuffle_f32x4(a, b, 0xee)))
          .lanes;
    };
    const __m512 a = halves(row(0), row(4)), b = halves(row(8), row(12));
    quarters[i] =
        op(Avx512(_mm512_shuffle_f32x4(a, b, 0x88)), Avx512(_mm512_shuffle_f32x4(a, b, 0xdd)))
            .lanes;
  }
  const auto pairs = [&](__m512 a, __m512 b) {
    return op(Avx512(_mm512_unpacklo_ps(a, b)), Avx512(_mm512_unpackhi_ps(a, b))).lanes;
  };
  const __m512 even = pairs(quarters[0], quarters[1]), odd = pairs(quarters[2], quarters[3]);
  return op(Avx512(_mm512_shuffle_ps(even, odd, 0x44)), Avx512(_mm512_shuffle_ps(even, odd, 0xee)));
}

/// The extreme of each row of lanes: of magnitudes NaN if there is one, else of rows without any.
NIBBLE_HD Avx512 min_of_each(const Avx512::Stored (&rows)[16]) {
  return reduce_each(rows, [](Avx512 a, Avx512 b) { return ordered_min(a, b); });
}
NIBBLE_HD Avx512 max_of_each(const Avx512::Stored (&rows)[16]) {
  return reduce_each(rows, [](Avx512 a, Avx512 b) { return ordered_max(a, b); });
}
NIBBLE_HD Avx512 max_magnitude_of_each(const Avx512::Stored (&rows)[16]) {
  return reduce_each(rows, [](Avx512 a, Avx512 b) { return max_magnitude(a, b); });
}

/// The sum over the lanes, halves first.
NIBBLE_HD float reduce_sum(Avx512 a) { return _mm512_reduce_add_ps(a.lanes); }

}  // namespace nibble::kernels::cpu
