#pragma once

#include <nibble/kernels/quantized_linear_cuda.h>

#include "../divider.h"
#include "chunk.cuh"
#include "extremes.cuh"

/// The operands of products with packed int4 weights, and how the codes of a weight become numbers.
namespace nibble::kernels::cuda {

constexpr int kUnit = 32;  ///< columns in 16 bytes of codes

/// One weight and its output.
struct Int4Product {
  const uint4* codes;
  const void* scales;
  const void* zeros;
  void* output;
  uint32_t rows;
  uint32_t first_block;
  uint32_t block_tiles;    ///< row tiles that each of its blocks takes
  uint32_t longer_blocks;  ///< the first ones, which take one more
};

/// The columns that all weights of a launch have.
struct Int4Columns {
  uint32_t units;   ///< of kUnit columns
  uint32_t groups;  ///< of scales
  Divider units_per_group;
};

inline Int4Columns columns_of(const GroupedMatrix& weight) {
  return {static_cast<uint32_t>(weight.cols / kUnit),
          static_cast<uint32_t>(weight.cols / weight.group_size),
          Divider(static_cast<uint32_t>(weight.group_size / kUnit))};
}

struct Int4Products {
  Int4Product products[kMostSharedProducts];  ///< those that are not there begin behind the grid
  Int4Columns columns;
  uint32_t tokens;
  const void* input;
  TokenSource source;
};

/// The product whose output the block computes.
__device__ __forceinline__ const Int4Product& product_of_block(const Int4Products& p,
                                                               uint32_t block) {
  int index = 0;
#pragma unroll
  for (int i = 1; i < kMostSharedProducts; ++i) {
    if (block >= p.products[i].first_block) index = i;
  }
  return p.products[index];
}

/// (word & mask) | bits in one instruction: with two constants the compiler makes two.
template <uint32_t mask, uint32_t bits>
__device__ __forceinline__ uint32_t masked_or(uint32_t word) {
  uint32_t result;
  asm("lop3.b32 %0, %1, %2, %3, 0xea;" : "=r"(result) : "r"(word), "n"(mask), "n"(bits));
  return result;
}

__device__ __forceinline__ uint32_t word(const uint4& codes, int index) {
  return index == 0 ? codes.x : index == 1 ? codes.y : index == 2 ? codes.z : codes.w;
}

// Of a word of eight codes, pair i is those of columns i and i + 4: one shift brings both to their
// place in the halves of a register.

/// What lies between a nibble and the code that dequantize_centered() takes.
constexpr float kCenter = 8.0f;

/// The codes in the lowest four bits of either half of `pair`, less kCenter, without a conversion.
__device__ __forceinline__ BFloat16x2 centered_pair(uint32_t pair) {
  // 128 + nibble
  const BFloat16x2 shifted = BFloat16x2::from_word(masked_or<0x000f000fu, 0x43004300u>(pair));
  return subtract(shifted, BFloat16x2(128.0f + kCenter));
}

/// The values of the codes in the lowest four bits of either half of `pair`, rounded to T as
/// dequantize_cuda() rounds them.
template <class T, class S, class Grid>
__device__ __forceinline__ uint32_t value_pair(const Grid& grid, uint32_t pair) {
  if constexpr (std::is_same_v<T, BFloat16> && std::is_same_v<S, BFloat16>) {
    return grid.dequantize_centered(centered_pair(pair)).word;
  } else {
    const auto value = [&](uint32_t bits) {
      // 2^23 + nibble
      const float shifted = numerics::float_from_bits(masked_or<0xfu, 0x4b000000u>(bits));
      return grid.dequantize_centered(numerics::subtract(shifted, 8388608.0f + kCenter));
    };
    return pack<T>(value(pair), value(pair >> 16));
  }
}

/// 1 + nibble / 16 of pair i: the nibble in the highest bits of the significand of one.
template <class T>
__device__ __forceinline__ uint32_t fraction_pair(uint32_t codes, int i) {
  constexpr bool kIsBFloat16 = std::is_same_v<T, BFloat16>;
  constexpr uint32_t kOne = kIsBFloat16 ? 0x3f803f80u : 0x3c003c00u;
  constexpr uint32_t kNibble = kIsBFloat16 ? 0x00780078u : 0x03c003c0u;
  const int left = (kIsBFloat16 ? 3 : 6) - 4 * i;
  return masked_or<kNibble, kOne>(left >= 0 ? codes << left : codes >> -left);
}
/// What a sum of products with those numbers is in terms of the grid:
/// sum((nibble - 8) x) = kFractionScale * sum(fraction x) - kFractionOffset * sum(x).
constexpr float kFractionScale = 16.0f;
constexpr float kFractionOffset = 24.0f;

/// Eight consecutive columns of a token as pairs.
__device__ __forceinline__ uint4 paired(const uint4& x) {
  return make_uint4(__byte_perm(x.x, x.z, 0x5410), __byte_perm(x.x, x.z, 0x7632),
                    __byte_perm(x.y, x.w, 0x5410), __byte_perm(x.y, x.w, 0x7632));
}

}  // namespace nibble::kernels::cuda
