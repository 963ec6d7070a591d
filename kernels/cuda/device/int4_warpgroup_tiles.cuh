#pragma once

#include "../../grid_dispatch.h"
#include "cluster.cuh"
#include "copy_engine.cuh"
#include "int4_products.cuh"
#include "warpgroup_product.cuh"

/// Products with many tokens: how they are cut, and how a warpgroup turns codes into operands of
/// the tensor cores.
namespace nibble::kernels::cuda {

constexpr int kWarpgroup = 4 * kWarp;
constexpr int kProductRows = 64;  ///< of the weight in a warpgroup's product
constexpr int kWarpgroups = 2;    ///< of a block that multiply; a thread more has copies made
constexpr int kChunk = 128;       ///< columns that are copied at once
constexpr int kChunkBytes = kChunk / 2;
constexpr int kHalfChunk = 64;  ///< columns of the input in a swizzled row

/// A block computes a tile of the output, with `stages` stages of weight and input on the way;
/// `blocks` share a multiprocessor. Either each warpgroup has 64 rows of its own or, where there
/// are `halves`, both have the same rows and every other chunk. The columns of a tile can be shared
/// too, by the blocks of a cluster.
template <int tokens, int stages, int blocks, bool halves>
struct WarpgroupTile {
  static constexpr int kTokens = tokens;
  /// An instruction takes up to 256: more are two products with the same weights.
  static constexpr int kProducts = tokens > 256 ? 2 : 1;
  static constexpr int kProductTokens = tokens / kProducts;
  static constexpr int kStages = stages;
  static constexpr int kBlocks = blocks;
  static constexpr bool kHalves = halves;
  static constexpr int kRows = halves ? kProductRows : kWarpgroups * kProductRows;
  static constexpr int kStageChunks = halves ? kWarpgroups : 1;
  static constexpr int kMultiplyThreads = kWarpgroups * kWarpgroup;
  /// Warpgroups can give registers to each other, single warps cannot. It also tells the compiler
  /// that no warp parts, so that descriptors stay in uniform registers.
  static constexpr bool kMovesRegisters = blocks == 1;
  static constexpr int kThreads = kMultiplyThreads + (kMovesRegisters ? kWarpgroup : kWarp);

  static constexpr uint32_t kRowBytes = kStageChunks * kChunkBytes;
  static constexpr uint32_t kCodeBytes = kRows * kRowBytes;
  static constexpr uint32_t kHalfInputBytes = tokens * kHalfChunk * 2;
  static constexpr uint32_t kStageBytes = kCodeBytes + kStageChunks * 2 * kHalfInputBytes;
  static constexpr int kStoreTokens = tokens < 192 ? tokens : 32;  ///< for more there is no room
  static constexpr uint32_t kStoreBytes = kStoreTokens * kProductRows * 2;  ///< [token][row]
  static constexpr uint32_t kSumBytes = halves ? tokens * kProductRows * sizeof(float) : 0;
  /// Whether blocks can share the columns: of more tokens sums take longer to send than that saves.
  static constexpr bool kCanShare = tokens == 128 || tokens == 192;
  static constexpr int kSharedTokens = 16;  ///< whose sums one of these blocks adds at once
  static constexpr uint32_t kSums = stages * kStageBytes + kWarpgroups * kStoreBytes;
  static constexpr uint32_t kBarriers = kSums + kSumBytes;
  static constexpr uint32_t kSharedBytes = kBarriers + 2 * stages * 8;
};

/// The shared memory of a block: stages, what a warpgroup stores, sums that one hands to the other,
/// and for each stage a barrier that ends when it is full and one that ends when both have left it.
template <class Tile>
struct WarpgroupShared {
  uint32_t base;  ///< a multiple of 1024

  __device__ uint32_t stage(uint32_t index) const { return base + index * Tile::kStageBytes; }
  __device__ uint32_t stores(uint32_t warpgroup) const {
    return base + Tile::kStages * Tile::kStageBytes + warpgroup * Tile::kStoreBytes;
  }
  __device__ CopyBarrier full(uint32_t stage) const {
    return CopyBarrier(base + Tile::kBarriers + stage * 8);
  }
  __device__ CopyBarrier empty(uint32_t stage) const {
    return CopyBarrier(base + Tile::kBarriers + (Tile::kStages + stage) * 8);
  }
};

/// A place in the ring of stages.
template <class Tile>
struct StageCursor {
  uint32_t index = 0, parity = 0;
  __device__ void advance() {
    if (++index == Tile::kStages) {
      index = 0;
      parity ^= 1;
    }
  }
};

/// One weight, one input. A block has `stages` stages of a tile, an even number; what of them lies
/// beyond the last column are zeros of the input.
struct WarpgroupProduct {
  CUtensorMap codes;  ///< bytes [rows, cols / 2]
  CUtensorMap input;  ///< [tokens, cols]
  const void* scales;
  const void* zeros;
  void* output;
  uint32_t rows, tokens;
  Int4Columns columns;
  uint32_t stages, row_tiles, token_tiles;
  bool waits_first;    ///< the kernel before this one may write the weight
  bool stores_octets;  ///< rows are a multiple of 8 and the output is aligned to 16 bytes
};

/// The first of a block's stages: the blocks of a cluster, neighbours in the grid, share a tile.
template <class Tile>
__device__ __forceinline__ uint32_t first_stage(const WarpgroupProduct& p) {
  return Tile::kCanShare ? cluster_place().block * p.stages : 0;
}

/// Where a tile begins. Neighbours in the order of tiles share rows or tokens that the L2 cache
/// holds.
struct TilePlace {
  uint32_t row, token;
};
template <class Tile>
__device__ __forceinline__ TilePlace place_of_tile(const WarpgroupProduct& p, uint32_t tile) {
  constexpr uint32_t kBand = 8;  // tiles of tokens
  const uint32_t band = tile / (kBand * p.row_tiles), in_band = tile % (kBand * p.row_tiles);
  const uint32_t width = min(kBand, p.token_tiles - band * kBand);
  return {in_band / width * Tile::kRows, (band * kBand + in_band % width) * Tile::kTokens};
}

/// Scale and zero of a row's group.
template <class S>
struct RowGrid {
  S scale, zero;

  /// Of lane `lane`.
  __device__ RowGrid of_lane(uint32_t lane) const {
    RowGrid result = *this;
    if constexpr (sizeof(S) == 4) {
      result.scale = __shfl_sync(~0u, scale, lane);
      result.zero = __shfl_sync(~0u, zero, lane);
    } else {
      const uint32_t both =
          __shfl_sync(~0u, uint32_t{scale.bits} | uint32_t{zero.bits} << 16, lane);
      result.scale = S::from_bits(static_cast<uint16_t>(both));
      result.zero = S::from_bits(static_cast<uint16_t>(both >> 16));
    }
    return result;
  }
};

/// Reads the grids of a warpgroup's rows, of them g and g + 8 of its warp: where a chunk lies in
/// one group its grids, else lane 4 g + t those of unit t.
template <class S, class Grid, bool one_group>
class RowGridReader {
 public:
  __device__ explicit RowGridReader(const WarpgroupProduct& p) : p_(p) {}

  /// `row` is the first of the warpgroup's. Rows beyond the last read that one; what comes of them
  /// is never stored.
  __device__ void go_to(uint32_t row) {
    const uint32_t g = threadIdx.x % kWarp / 4, warp = threadIdx.x % kWarpgroup / kWarp;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const uint32_t wanted = row + warp * 16 + half * 8 + g;
      first_group_[half] = min(wanted, p_.rows - 1) * p_.columns.groups;
    }
  }

  __device__ void read(uint32_t chunk, RowGrid<S> (&grids)[2]) const {
    const uint32_t wanted = chunk * (kChunk / kUnit) + (one_group ? 0 : threadIdx.x % 4);
    const uint32_t unit = min(wanted, p_.columns.units - 1);
    const uint32_t group = p_.columns.units_per_group.quotient(unit);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const uint32_t at = first_group_[half] + group;
      grids[half].scale = static_cast<const S*>(p_.scales)[at];
      if (!Grid::kIsSymmetric) grids[half].zero = static_cast<const S*>(p_.zeros)[at];
    }
  }

 private:
  const WarpgroupProduct& p_;
  uint32_t first_group_[2];
};

/// The codes of byte `index` of `word`, less kCenter, divided by kCodeScale. In either half of a
/// register a nibble with zeros around it is a number that bfloat16 has below its normal ones: code
/// * 2^-133 in the lowest bits, code * 2^-129 in the next. So one multiply-add converts both.
constexpr float kCodeScale = 64.0f;
__device__ __forceinline__ BFloat16x2 centered_byte(uint32_t word, uint32_t index) {
  const uint32_t twice = __byte_perm(word, 0, 0x4040u | index * 0x101u);
  const BFloat16x2 unit = BFloat16x2::from_word(0x7d007f00u);  // 2^127 and 2^123
  return multiply_add(BFloat16x2::from_word(twice & 0x00f0000fu), unit,
                      BFloat16x2(-kCenter / kCodeScale));
}

/// The values of columns 2 t and 2 t + 1 of eight, whose codes are the bytes of `word`. Beside busy
/// tensor cores a warp scheduler issues little more than one instruction in four cycles: those of
/// bfloat16 take four, of which the last rounds code * scale + zero once.
template <class T, class S, class Grid>
__device__ __forceinline__ uint32_t values_of_lane(const Grid& grid, uint32_t word) {
  const uint32_t t = threadIdx.x % 4;
  if constexpr (std::is_same_v<T, BFloat16> && !Grid::kIsSymmetric) {
    // Exact: a scale of 2^122 is no weight's.
    const BFloat16x2 scale(kCodeScale * grid.scale);
    return multiply_add(centered_byte(word, t), scale, BFloat16x2(grid.zero_point)).word;
  } else {
    const uint32_t byte = __byte_perm(word, 0, 0x4440u | t);
    return value_pair<T, S>(grid, byte * 0x1001u);  // the second code to the upper half
  }
}

/// Adds the products of a chunk's weights and input, asynchronously: when it returns those of its
/// last 32 columns may be under way, and all earlier ones are finished. After its first 32 columns
/// it calls `left_previous`: no product of an earlier chunk is under way any more.
template <class T, class S, class Grid, class Tile, bool one_group, class LeftPrevious>
__device__ __forceinline__ void multiply_chunk(uint32_t stage, const RowGrid<S> (&row_grids)[2],
                                               float (&sums)[Tile::kTokens / 2],
                                               LeftPrevious&& left_previous) {
  const uint32_t warpgroup = threadIdx.x / kWarpgroup, lane = threadIdx.x % kWarp, g = lane / 4;
  const uint32_t row = threadIdx.x % kWarpgroup / kWarp * 16 + g;
  const uint32_t codes_of_row =
      stage + (row + (Tile::kHalves ? 0 : warpgroup * kProductRows)) * Tile::kRowBytes;
  // Pieces of 16 bytes as the copy engine exchanges them in rows of 64 or 128 bytes.
  const uint32_t first_piece = Tile::kHalves ? warpgroup * 4 : 0;
  const uint32_t exchange = Tile::kHalves ? g : g / 2;
  const uint64_t input = describe_swizzled(
      stage + Tile::kCodeBytes + (Tile::kHalves ? warpgroup * 2 * Tile::kHalfInputBytes : 0));
  uint32_t weight[2][2][4];
#pragma unroll
  for (int unit = 0; unit < kChunk / kUnit; ++unit) {
    auto& operands = weight[unit % 2];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      RowGrid<S> stored = row_grids[half];
      if constexpr (!one_group) stored = stored.of_lane(lane / 4 * 4 + unit);
      const Grid grid = restore_grid(Tag<Grid>{}, static_cast<float>(stored.scale),
                                     Grid::kIsSymmetric ? 0.0f : static_cast<float>(stored.zero));
      const uint4 codes = load_shared(codes_of_row + half * 8 * Tile::kRowBytes +
                                      ((first_piece + unit) ^ exchange) * 16);
#pragma unroll
      for (int octet = 0; octet < kUnit / kOctet; ++octet) {
        operands[octet / 2][octet % 2 * 2 + half] = values_of_lane<T, S>(grid, word(codes, octet));
      }
    }
    begin_products();
#pragma unroll
    for (int step = 0; step < 2; ++step) {
      const uint64_t columns =
          input + unit / 2 * (Tile::kHalfInputBytes / 16) + (unit % 2 * 2 + step) * kStepOfProduct;
#pragma unroll
      for (int i = 0; i < Tile::kProducts; ++i) {
        multiply_add_async<T, Tile::kProductTokens>(
            sums + i * (Tile::kProductTokens / 2), operands[step],
            columns + i * (Tile::kProductTokens * kHalfChunk * 2 / 16));
      }
    }
    end_products();
    wait_for_products<1>();
    if (unit == 0) left_previous();
  }
}

}  // namespace nibble::kernels::cuda
