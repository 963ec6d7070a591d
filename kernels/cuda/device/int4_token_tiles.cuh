#pragma once

#include "../../grid_dispatch.h"
#include "int4_products.cuh"
#include "tensor_core.cuh"

/// Products with more tokens than a tensor core takes at once: what a warp reads of weight and
/// input.
namespace nibble::kernels::cuda {

constexpr int kTileRows = 16;      ///< of the weight in a tensor core's tile
constexpr int kTileTokens = 8;     ///< of the input
constexpr int kChunk = 4 * kUnit;  ///< columns that a warp reads at once

/// How the work is cut: a block takes `rows` tiles of rows at a time and all tokens; its warps
/// share the columns out and add their sums in shared memory. Each has `ahead` chunks of the weight
/// under way.
template <int rows, int tokens, int warps, int ahead>
struct TokenCut {
  static constexpr int kRowTiles = rows;
  static constexpr int kTokenTiles = tokens;
  static constexpr int kWarps = warps;
  static constexpr int kAhead = ahead;
  static constexpr int kRows = rows * kTileRows;
  static constexpr int kTokens = tokens * kTileTokens;
};

/// What a lane reads of the weight for one chunk: rows g and g + 8 of each tile.
template <class S, int rows>
struct WeightTile {
  uint4 codes[rows][2];
  S scales[rows][2];
  S zeros[rows][2];
};

/// Reads the weight chunk after chunk. Units of 32 columns are counted in 32 bits, divisions are
/// multiplications: 64-bit ones took longer than all arithmetic on the weight.
template <class S, class Grid, class TokenCut>
class WeightTileReader {
 public:
  __device__ WeightTileReader(const QuantizedLinearParams& p, Divider units_per_group)
      : p_(p),
        units_per_group_(units_per_group),
        units_(static_cast<uint32_t>(p.weight.cols / kUnit)),
        groups_(units_per_group.quotient(units_)) {}

  /// Goes to the rows `row`, `row` + 8, and so on in further tiles. Rows beyond the last read that
  /// one; what comes of them is never stored.
  __device__ void go_to(uint32_t row) {
    const auto last = static_cast<uint32_t>(p_.weight.rows) - 1;
#pragma unroll
    for (int tile = 0; tile < TokenCut::kRowTiles; ++tile) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const uint32_t wanted = row + tile * kTileRows + half * 8;
        const uint64_t at = wanted < last ? wanted : last;
        codes_[tile][half] = reinterpret_cast<const uint4*>(p_.packed_codes) + at * units_;
        scales_[tile][half] = static_cast<const S*>(p_.scales) + at * groups_;
        if (!Grid::kIsSymmetric) {
          zeros_[tile][half] = static_cast<const S*>(p_.zeros) + at * groups_;
        }
      }
    }
  }

  __device__ WeightTile<S, TokenCut::kRowTiles> read(uint32_t unit) const {
    WeightTile<S, TokenCut::kRowTiles> chunk;
    const uint32_t group = units_per_group_.quotient(unit);
#pragma unroll
    for (int tile = 0; tile < TokenCut::kRowTiles; ++tile) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        chunk.codes[tile][half] = __ldg(codes_[tile][half] + unit);
        chunk.scales[tile][half] = scales_[tile][half][group];
        if (!Grid::kIsSymmetric) chunk.zeros[tile][half] = zeros_[tile][half][group];
      }
    }
    return chunk;
  }

 private:
  const QuantizedLinearParams& p_;
  Divider units_per_group_;
  uint32_t units_, groups_;
  const uint4* codes_[TokenCut::kRowTiles][2];
  const S* scales_[TokenCut::kRowTiles][2];
  const S* zeros_[TokenCut::kRowTiles][2];
};

/// The input in shared memory, paired, for all row tiles of the block, and after it a chunk of
/// zeros for the lanes that have none. The four lanes t read neighbours, and two tokens lie half a
/// line of banks apart: no two lanes meet in a bank.
class SharedTokens {
 public:
  static constexpr uint32_t kChunkOctets = kChunk / kOctet;

  __device__ SharedTokens(uint4* octets, uint32_t tokens, uint32_t cols)
      : octets_(octets), tokens_(tokens), cols_(cols), stride_(stride(cols)) {}

  static int64_t bytes(int64_t tokens, int64_t cols) {
    return (tokens * stride(cols) + kChunkOctets) * static_cast<int64_t>(sizeof(uint4));
  }

  /// Called by all threads of the block; they synchronise afterwards.
  __device__ void fill(const void* input) const {
    const auto* source = static_cast<const uint4*>(input);
    const uint32_t per_token = cols_ / kOctet;
    for (uint32_t token = 0; token < tokens_; ++token) {
      for (uint32_t at = threadIdx.x; at < per_token; at += blockDim.x) {
        const uint32_t in_chunk = at % kChunkOctets;
        octets_[token * stride_ + at - in_chunk + in_chunk % 4 * 4 + in_chunk / 4] =
            paired(__ldg(source + token * per_token + at));
      }
    }
    if (threadIdx.x < kChunkOctets) zeros()[threadIdx.x] = make_uint4(0, 0, 0, 0);
  }

  /// The first of the four octets of lane t in a chunk.
  __device__ const uint4* lane(uint32_t token, uint32_t chunk, uint32_t t) const {
    const bool inside = token < tokens_ && chunk * kChunk + t * kUnit < cols_;
    return (inside ? octets_ + token * stride_ + chunk * kChunkOctets : zeros()) + t;
  }
  __device__ static uint4 octet(const uint4* lane, uint32_t index) { return lane[index * 4]; }

 private:
  __host__ __device__ static uint32_t stride(int64_t cols) {
    return static_cast<uint32_t>((cols + kChunk - 1) / kChunk * kChunkOctets + 4);
  }
  __device__ uint4* zeros() const { return octets_ + tokens_ * stride_; }

  uint4* octets_;
  uint32_t tokens_, cols_, stride_;
};

/// The same read from memory each time, where it does not fit.
class GlobalTokens {
 public:
  __device__ GlobalTokens(const void* input, uint32_t tokens, uint32_t cols)
      : octets_(static_cast<const uint4*>(input)), tokens_(tokens), cols_(cols) {}

  /// Null for a lane without input.
  __device__ const uint4* lane(uint32_t token, uint32_t chunk, uint32_t t) const {
    const uint32_t col = chunk * kChunk + t * kUnit;
    if (token >= tokens_ || col >= cols_) return nullptr;
    return octets_ + (uint64_t{token} * cols_ + col) / kOctet;
  }
  __device__ static uint4 octet(const uint4* lane, uint32_t index) {
    return lane == nullptr ? make_uint4(0, 0, 0, 0) : paired(__ldg(lane + index));
  }

 private:
  const uint4* octets_;
  uint32_t tokens_, cols_;
};

}  // namespace nibble::kernels::cuda
