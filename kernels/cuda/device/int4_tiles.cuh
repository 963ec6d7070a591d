#pragma once

#include "../../grid_dispatch.h"
#include "int4_products.cuh"
#include "tensor_core.cuh"

/// Products with few tokens: what a warp reads of weight and input, and what it adds up.
namespace nibble::kernels::cuda {

constexpr int kTileRows = 16;  ///< of the weight in a tensor core's tile
constexpr int kChunkUnits = 4;
constexpr int kChunkOctets =
    kChunkUnits * kUnit / kOctet;  ///< of columns that a warp reads at once

/// A block takes `row_tiles` tiles of rows and up to `tokens` tokens, 1 or 8. Its warps share the
/// columns out and add their sums at the end. Each has `ahead` chunks of the weight under way.
template <int row_tiles, int tokens, int warps, int ahead, int blocks>
struct Cut {
  static constexpr int kRowTiles = row_tiles;
  static constexpr int kTokens = tokens;
  static constexpr int kWarps = warps;
  static constexpr int kAhead = ahead;
  static constexpr int kBlocks = blocks;  ///< at once in a multiprocessor
  static constexpr int kThreads = warps * kWarp;
  static constexpr int kRows = row_tiles * kTileRows;
};

/// What a lane reads of the weight for one chunk: rows g and g + 8 of each tile.
template <class S, int row_tiles>
struct WeightChunk {
  uint4 codes[row_tiles][2];
  S scales[row_tiles][2];
  S zeros[row_tiles][2];
};

/// Reads a block's rows of the weight chunk by chunk, of which all are `whole` or the last may be
/// short.
template <class S, class Grid, class Cut, bool whole>
class WeightReader {
 public:
  /// `row` is the block's first. Rows beyond the last read that one; what comes of them is never
  /// stored.
  __device__ WeightReader(const Int4Product& weight, const Int4Columns& columns, uint32_t row)
      : weight_(weight), columns_(columns) {
    const uint32_t g = threadIdx.x % kWarp / 4;
#pragma unroll
    for (int tile = 0; tile < Cut::kRowTiles; ++tile) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const uint32_t wanted = row + g + tile * kTileRows + half * 8;
        const uint32_t at = wanted < weight.rows ? wanted : weight.rows - 1;
        codes_[tile][half] = weight.codes + uint64_t{at} * columns.units;
        first_group_[tile][half] = at * columns.groups;
      }
    }
  }

  __device__ WeightChunk<S, Cut::kRowTiles> read(uint32_t chunk) const {
    WeightChunk<S, Cut::kRowTiles> result;
    // Lanes beyond a short last chunk read the first columns, and zeros of the input.
    const uint32_t wanted = chunk * kChunkUnits + threadIdx.x % 4;
    const uint32_t unit = whole || wanted < columns_.units ? wanted : 0;
    const uint32_t group = columns_.units_per_group.quotient(unit);
#pragma unroll
    for (int tile = 0; tile < Cut::kRowTiles; ++tile) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        result.codes[tile][half] = load_codes(codes_[tile][half] + unit);
        const uint32_t parameter = first_group_[tile][half] + group;
        result.scales[tile][half] = static_cast<const S*>(weight_.scales)[parameter];
        if (!Grid::kIsSymmetric) {
          result.zeros[tile][half] = static_cast<const S*>(weight_.zeros)[parameter];
        }
      }
    }
    return result;
  }

 private:
  /// Read once; the other half of the line is what the next chunk reads.
  __device__ static uint4 load_codes(const uint4* address) {
    uint4 v;
    asm volatile("ld.global.nc.L1::no_allocate.L2::128B.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
                 : "l"(__cvta_generic_to_global(address)));
    return v;
  }

  const Int4Product& weight_;
  const Int4Columns& columns_;
  const uint4* codes_[Cut::kRowTiles][2];
  uint32_t first_group_[Cut::kRowTiles][2];
};

/// The input in shared memory, paired, and the sum of each chunk. Octet o of unit t of a chunk lies
/// at 4 o + t, so the four lanes t read neighbours, and two tokens lie half a line of banks apart:
/// no two lanes meet in a bank. Columns beyond the last and a token that is not there are zeros.
template <class T>
class SharedInput {
 public:
  __device__ SharedInput(uint4* octets, uint32_t tokens, uint32_t columns)
      : octets_(octets), tokens_(tokens), per_token_(columns / kOctet), chunks_(chunks(columns)) {}

  static size_t bytes(uint32_t tokens, uint32_t columns) {
    return (tokens * stride(columns) + kChunkOctets) * sizeof(uint4) +
           tokens * chunks(columns) * sizeof(float);
  }

  /// Called by all threads of the block; they synchronise afterwards.
  template <bool with_sums>
  __device__ void fill(const void* input) const {
    const auto* source = static_cast<const uint4*>(input);
    const uint32_t padded = chunks_ * kChunkOctets;
    if (threadIdx.x < kChunkOctets) zeros()[threadIdx.x] = make_uint4(0, 0, 0, 0);
#pragma unroll 1
    for (uint32_t token = 0; token < tokens_; ++token) {
#pragma unroll 1
      for (uint32_t at = threadIdx.x; at < padded; at += 2 * blockDim.x) {
        // Both are under way before one is used.
        const uint4 x[2] = {read(source, token, at), read(source, token, at + blockDim.x)};
        keep<with_sums>(x[0], token, at);
        if (at + blockDim.x < padded) keep<with_sums>(x[1], token, at + blockDim.x);
      }
    }
  }

  /// The first of the four octets, 4 apart, that this lane reads of chunk 0 of token g, and what
  /// lies between two chunks.
  __device__ const uint4* first(uint32_t g, uint32_t& step) const {
    step = g < tokens_ ? kChunkOctets : 0;
    return (g < tokens_ ? octets_ + g * (chunks_ * kChunkOctets + 4) : zeros()) + threadIdx.x % 4;
  }
  __device__ float sum(uint32_t token, uint32_t chunk) const {
    return sums()[(token < tokens_ ? token : 0) * chunks_ + chunk];
  }

 private:
  __host__ __device__ static uint32_t chunks(uint32_t columns) {
    return (columns / kOctet + kChunkOctets - 1) / kChunkOctets;
  }
  static uint32_t stride(uint32_t columns) { return chunks(columns) * kChunkOctets + 4; }
  __device__ uint4* zeros() const { return octets_ + tokens_ * (chunks_ * kChunkOctets + 4); }
  __device__ float* sums() const { return reinterpret_cast<float*>(zeros() + kChunkOctets); }

  __device__ uint4 read(const uint4* source, uint32_t token, uint32_t at) const {
    return at < per_token_ ? source[token * per_token_ + at] : make_uint4(0, 0, 0, 0);
  }

  template <bool with_sums>
  __device__ void keep(const uint4& x, uint32_t token, uint32_t at) const {
    const uint32_t in_chunk = at % kChunkOctets;
    octets_[token * (chunks_ * kChunkOctets + 4) + at - in_chunk + in_chunk % 4 * 4 +
            in_chunk / 4] = paired(x);
    if (with_sums) store_sum(x, token * chunks_ + at / kChunkOctets, in_chunk);
  }

  /// Adds up the octets of the half warp that holds a chunk.
  __device__ void store_sum(const uint4& x, uint32_t target, uint32_t in_chunk) const {
    float values[kOctet];
#pragma unroll
    for (int i = 0; i < 4; ++i) unpack<T>(word(x, i), values + 2 * i);
    float sum = ((values[0] + values[1]) + (values[2] + values[3])) +
                ((values[4] + values[5]) + (values[6] + values[7]));
    const unsigned half_warp = 0xffffu << (threadIdx.x & 16);
#pragma unroll
    for (int distance = 8; distance > 0; distance /= 2) {
      sum += __shfl_xor_sync(half_warp, sum, distance);
    }
    if (in_chunk == 0) sums()[target] = sum;
  }

  uint4* octets_;
  uint32_t tokens_, per_token_, chunks_;
};

template <class Cut>
using Sums = float[Cut::kRowTiles][4];

/// The products of a chunk's weights and the input, sums[tile] in two independent halves. `make`
/// gives operand i of a word of codes of row g + 8 half of a tile.
template <class T, class S, class Cut, class Make>
__device__ __forceinline__ void multiply_chunk(const WeightChunk<S, Cut::kRowTiles>& weight,
                                               const uint4* input, Make&& make, Sums<Cut>& first,
                                               Sums<Cut>& second) {
#pragma unroll
  for (int octet = 0; octet < kUnit / kOctet; ++octet) {
    const uint4 x = input[octet * 4];
#pragma unroll
    for (int tile = 0; tile < Cut::kRowTiles; ++tile) {
      uint32_t w[4][2];
#pragma unroll
      for (int half = 0; half < 2; ++half) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          w[i][half] = make(tile, half, word(weight.codes[tile][half], octet), i);
        }
      }
      multiply_accumulate<T>(first[tile], {w[0][0], w[0][1], w[1][0], w[1][1]}, {x.x, x.y});
      multiply_accumulate<T>(second[tile], {w[2][0], w[2][1], w[3][0], w[3][1]}, {x.z, x.w});
    }
  }
}

/// Adds a chunk's products of values rounded to T. For any groups.
template <class T, class S, class Grid, class Cut>
__device__ __forceinline__ void add_values(const WeightChunk<S, Cut::kRowTiles>& weight,
                                           const uint4* input, Sums<Cut>& sums) {
  Grid grids[Cut::kRowTiles][2];
#pragma unroll
  for (int tile = 0; tile < Cut::kRowTiles; ++tile) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float zero = Grid::kIsSymmetric ? 0.0f : static_cast<float>(weight.zeros[tile][half]);
      grids[tile][half] =
          restore_grid(Tag<Grid>{}, static_cast<float>(weight.scales[tile][half]), zero);
    }
  }
  Sums<Cut> second = {};
  multiply_chunk<T, S, Cut>(
      weight, input,
      [&](int tile, int half, uint32_t codes, int i) {
        return value_pair<T, S>(grids[tile][half], codes >> (4 * i));
      },
      sums, second);
#pragma unroll
  for (int tile = 0; tile < Cut::kRowTiles; ++tile) {
#pragma unroll
    for (int i = 0; i < 4; ++i) sums[tile][i] += second[tile][i];
  }
}

/// The same for a chunk that lies in one group: its codes are multiplied and the sum is scaled, in
/// a third of the instructions. Nothing is rounded to T on the way.
template <class T, class S, class Grid, class Cut>
__device__ __forceinline__ void add_scaled_codes(const WeightChunk<S, Cut::kRowTiles>& weight,
                                                 const uint4* input, const float (&input_sums)[2],
                                                 Sums<Cut>& sums) {
  Sums<Cut> first = {}, second = {};
  multiply_chunk<T, S, Cut>(
      weight, input, [](int, int, uint32_t codes, int i) { return fraction_pair<T>(codes, i); },
      first, second);
#pragma unroll
  for (int tile = 0; tile < Cut::kRowTiles; ++tile) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const auto scale = static_cast<float>(weight.scales[tile][half]);
      const float zero = Grid::kIsSymmetric ? 0.0f : static_cast<float>(weight.zeros[tile][half]);
      const float offset = fmaf(-kFractionOffset, scale, zero);
#pragma unroll
      for (int token = 0; token < (Cut::kTokens == 1 ? 1 : 2); ++token) {
        const int i = 2 * half + token;
        const float products = first[tile][i] + second[tile][i];
        sums[tile][i] =
            fmaf(scale * kFractionScale, products, fmaf(offset, input_sums[token], sums[tile][i]));
      }
    }
  }
}

}  // namespace nibble::kernels::cuda
