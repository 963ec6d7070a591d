#pragma once

#include <nibble/kernels/quantized_linear_cuda.h>

#include "../../grid_dispatch.h"
#include "../divider.h"
#include "chunk.cuh"

/// What a product with packed int4 codes reads: tiles of the weight, whose values are made in
/// registers, and the input, its columns in the order in which the codes unpack.
namespace nibble::kernels::cuda {

constexpr int kTileRows = 16;     ///< of the weight in a tensor core's tile
constexpr int kTileTokens = 8;    ///< of the input
constexpr int kLaneColumns = 32;  ///< that a lane reads at once: 16 bytes of codes, one scale
constexpr int kChunk = 4 * kLaneColumns;  ///< columns that a warp reads at once

/// How the work is cut: a block takes `rows` tiles of rows at a time and all tokens; its warps
/// share the columns out and add their sums in shared memory.
template <int rows, int tokens, int warps>
struct Cut {
  static constexpr int kRowTiles = rows;
  static constexpr int kTokenTiles = tokens;
  static constexpr int kWarps = warps;
  static constexpr int kRows = rows * kTileRows;
  static constexpr int kTokens = tokens * kTileTokens;
};

/// Two values from the nibbles at bits 0 and 16, in T.
template <class T, class S, class Grid>
__device__ __forceinline__ uint32_t value_pair(const Grid& grid, uint32_t nibbles) {
  if constexpr (std::is_same_v<T, BFloat16> && std::is_same_v<S, BFloat16>) {
    // 128 + nibble, without a conversion.
    const BFloat16x2 shifted = BFloat16x2::from_word(nibbles | 0x43004300u);
    return grid.dequantize(subtract(shifted, BFloat16x2(128.0f - Grid::kMinCode))).word;
  } else {
    const auto value = [&](uint32_t nibble) {
      const float shifted = numerics::float_from_bits(nibble | 0x4b000000u);  // 2^23 + nibble
      return grid.dequantize(numerics::subtract(shifted, 8388608.0f - Grid::kMinCode));
    };
    return pack<T>(value(nibbles & 0xffffu), value(nibbles >> 16));
  }
}

/// What a lane reads of the weight for one chunk: rows g and g + 8 of each tile.
template <class S, int rows>
struct WeightChunk {
  uint4 codes[rows][2];
  S scales[rows][2];
  S zeros[rows][2];
};

/// Reads the weight. Units of 32 columns are counted in 32 bits, divisions are multiplications:
/// 64-bit ones took longer than all arithmetic on the weight.
template <class S, class Cut>
struct WeightReader {
  const QuantizedLinearParams& p;
  Divider units_per_group;

  /// Of the rows `row`, `row` + 8, and so on in further tiles. Rows beyond the last read that one;
  /// what comes of them is never stored.
  __device__ WeightChunk<S, Cut::kRowTiles> read(uint32_t row, uint32_t unit) const {
    WeightChunk<S, Cut::kRowTiles> chunk;
    const auto rows = static_cast<uint32_t>(p.weight.rows);
    const auto units = static_cast<uint32_t>(p.weight.cols / kLaneColumns);
    const uint32_t groups = units_per_group.quotient(units);
    const uint32_t group = units_per_group.quotient(unit);
    const auto* codes = reinterpret_cast<const uint4*>(p.packed_codes);
#pragma unroll
    for (int tile = 0; tile < Cut::kRowTiles; ++tile) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const uint32_t wanted = row + tile * kTileRows + half * 8;
        const uint64_t at = wanted < rows ? wanted : rows - 1;
        chunk.codes[tile][half] = __ldg(codes + at * units + unit);
        const uint64_t index = at * groups + group;
        chunk.scales[tile][half] = static_cast<const S*>(p.scales)[index];
        if (p.zeros != nullptr) chunk.zeros[tile][half] = static_cast<const S*>(p.zeros)[index];
      }
    }
    return chunk;
  }
};

/// Eight consecutive columns of a token as the pairs (0,4) (1,5) (2,6) (3,7): those of a word of
/// codes that are shifted to bits 0 and 16 together.
__device__ __forceinline__ uint4 paired(const uint4& x) {
  return make_uint4(__byte_perm(x.x, x.z, 0x5410), __byte_perm(x.x, x.z, 0x7632),
                    __byte_perm(x.y, x.w, 0x5410), __byte_perm(x.y, x.w, 0x7632));
}

/// The input in shared memory, paired, for all row tiles of the block. The four lanes t read
/// neighbours, and two tokens lie half a line of banks apart: no two lanes meet in a bank.
struct SharedInput {
  uint4* octets;
  uint32_t token_stride;

  __host__ __device__ static uint32_t stride(int64_t cols) {
    return static_cast<uint32_t>((cols + kChunk - 1) / kChunk * (kChunk / kOctet) + 4);
  }
  static int64_t bytes(int64_t tokens, int64_t cols) {
    return tokens * stride(cols) * static_cast<int64_t>(sizeof(uint4));
  }
  /// Octet `octet` of lane t in a chunk.
  __device__ static uint32_t index(uint32_t chunk, uint32_t octet, uint32_t t) {
    return (chunk * (kLaneColumns / kOctet) + octet) * 4 + t;
  }

  /// Called by all threads of the block; they synchronise afterwards.
  __device__ void fill(const void* input, uint32_t tokens, uint32_t cols) const {
    const auto* source = static_cast<const uint4*>(input);
    const uint32_t per_token = cols / kOctet;
    for (uint32_t token = 0; token < tokens; ++token) {
      for (uint32_t at = threadIdx.x; at < per_token; at += blockDim.x) {
        const uint32_t in_chunk = at % (kChunk / kOctet);
        octets[token * token_stride + index(at / (kChunk / kOctet), in_chunk % 4, in_chunk / 4)] =
            paired(__ldg(source + token * per_token + at));
      }
    }
  }
  __device__ uint4 read(uint32_t token, uint32_t chunk, uint32_t octet, uint32_t t) const {
    return octets[token * token_stride + index(chunk, octet, t)];
  }
};

/// The same read from memory each time, where it does not fit.
template <class T>
struct GlobalInput {
  const T* input;
  uint32_t cols;

  __device__ uint4 read(uint32_t token, uint32_t chunk, uint32_t octet, uint32_t t) const {
    const T* source =
        input + uint64_t{token} * cols + chunk * kChunk + t * kLaneColumns + octet * kOctet;
    return paired(__ldg(reinterpret_cast<const uint4*>(source)));
  }
};

__device__ __forceinline__ uint32_t word(const uint4& codes, int index) {
  return index == 0 ? codes.x : index == 1 ? codes.y : index == 2 ? codes.z : codes.w;
}

}  // namespace nibble::kernels::cuda
