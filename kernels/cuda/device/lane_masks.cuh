#pragma once

#include "chunk.cuh"

/// The in-range bits of an octet: a byte in memory, masks of lanes in the formulas.
namespace nibble::kernels::cuda {

template <class V>
struct MaskWriter;  ///< collects the masks
template <class V>
struct MaskReader;  ///< gives them back

template <>
struct MaskWriter<float> {
  uint32_t bits = 0;

  __device__ void set(int lane, bool in_range) { bits |= static_cast<uint32_t>(in_range) << lane; }
  __device__ uint8_t byte() const { return static_cast<uint8_t>(bits); }
};
template <>
struct MaskReader<float> {
  uint32_t bits;

  __device__ explicit MaskReader(uint32_t byte) : bits(byte) {}
  __device__ bool get(int lane) const { return (bits >> lane & 1u) != 0; }
};

/// Pair i owns the bits 2 i and 2 i + 1, the latter in the upper half until the end.
template <>
struct MaskWriter<BFloat16x2> {
  uint32_t halves = 0;

  __device__ void set(int pair, BFloat16x2::Mask in_range) {
    halves |= in_range.word & (0x00020001u << (2 * pair));
  }
  __device__ uint8_t byte() const { return static_cast<uint8_t>(halves | halves >> 16); }
};
template <>
struct MaskReader<BFloat16x2> {
  uint32_t signs[2];  ///< bit i of a nibble as the sign of byte i

  /// The copies of the nibble that the product adds do not overlap.
  __device__ explicit MaskReader(uint32_t byte)
      : signs{(byte & 0xfu) * 0x10204080u, (byte >> 4) * 0x10204080u} {}
  /// A permutation of bytes that repeats the sign of each, which __byte_perm cannot.
  __device__ BFloat16x2::Mask get(int pair) const {
    BFloat16x2::Mask mask;
    asm("prmt.b32 %0, %1, 0, %2;"
        : "=r"(mask.word)
        : "r"(signs[pair / 2]), "r"(pair % 2 == 0 ? 0x9988u : 0xbbaau));
    return mask;
  }
};

}  // namespace nibble::kernels::cuda
