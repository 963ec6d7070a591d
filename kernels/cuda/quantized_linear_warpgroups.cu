#include <algorithm>

#include "device/overlap.cuh"
#include "device/warpgroup_stores.cuh"
#include "launch.h"
#include "quantized_linear_warpgroups.h"
#include "tensor_map.h"

namespace nibble::kernels::cuda {
namespace {

/// Up to where it is faster than dequantizing into memory and cuBLAS, on an H200.
constexpr int64_t kMostTokens = 2048;

/// One thread has everything copied that the warpgroups multiply, stage after stage.
template <class Tile>
__device__ __forceinline__ void copy_stages(const WarpgroupProduct& p,
                                            const WarpgroupShared<Tile>& shared) {
  const uint32_t first = first_stage<Tile>(p), end = first + p.stages;
  const uint32_t first_tile = cluster_place().index, step = cluster_place().count;
  const auto copy_codes = [&](uint32_t i, uint32_t row, uint32_t stage) {
    shared.full(stage).arrive_and_expect(Tile::kStageBytes);
    copy_box(p.codes, i * Tile::kRowBytes, row, shared.stage(stage), shared.full(stage));
  };
  prefetch_map(p.input);
  if (p.waits_first) wait_for_previous();
  const uint32_t first_row = place_of_tile<Tile>(p, first_tile).row;
  const uint32_t early = min(p.stages, Tile::kStages);
  for (uint32_t i = 0; i < early; ++i) copy_codes(first + i, first_row, i);
  wait_for_previous();
  StageCursor<Tile> cursor;
  for (uint32_t tile = first_tile; tile < p.row_tiles * p.token_tiles; tile += step) {
    const TilePlace place = place_of_tile<Tile>(p, tile);
    for (uint32_t i = first; i < end; ++i) {
      const uint32_t stage = shared.stage(cursor.index);
      const CopyBarrier full = shared.full(cursor.index);
      if (tile != first_tile || i >= first + early) {
        shared.empty(cursor.index).wait(cursor.parity ^ 1);
        copy_codes(i, place.row, cursor.index);
      }
#pragma unroll
      for (int half = 0; half < 2 * Tile::kStageChunks; ++half) {
#pragma unroll
        for (int j = 0; j < Tile::kProducts; ++j) {
          copy_box(p.input, (i * 2 * Tile::kStageChunks + half) * kHalfChunk,
                   place.token + j * Tile::kProductTokens,
                   stage + Tile::kCodeBytes + half * Tile::kHalfInputBytes +
                       j * (Tile::kHalfInputBytes / Tile::kProducts),
                   full);
        }
      }
      cursor.advance();
    }
  }
}

/// What a warpgroup does: multiply stage after stage, and store after the last one of a tile.
template <class T, class S, class Grid, class Tile, bool one_group>
__device__ __forceinline__ void multiply_stages(const WarpgroupProduct& p,
                                                const WarpgroupShared<Tile>& shared) {
  const uint32_t warpgroup = threadIdx.x / kWarpgroup, tiles = p.row_tiles * p.token_tiles;
  const uint32_t first_tile = cluster_place().index, step = cluster_place().count;
  const auto row_of = [&](uint32_t tile) {
    return place_of_tile<Tile>(p, tile).row + (Tile::kHalves ? 0 : warpgroup * kProductRows);
  };
  const auto chunk_of = [&](uint32_t stage) {
    return first_stage<Tile>(p) + (Tile::kHalves ? 2 * stage + warpgroup : stage);
  };
  const auto leave = [&](uint32_t stage) {
    if (threadIdx.x % kWarpgroup == 0) shared.empty(stage).arrive();
  };
  if (p.waits_first) wait_for_previous();
  RowGridReader<S, Grid, one_group> reader(p);
  RowGrid<S> grids[2][2] = {};
  reader.go_to(row_of(first_tile));
  reader.read(chunk_of(0), grids[0]);
  reader.read(chunk_of(1), grids[1]);
  wait_for_previous();
  StageCursor<Tile> cursor;
  for (uint32_t tile = first_tile; tile < tiles; tile += step) {
    float sums[Tile::kTokens / 2] = {};
    uint32_t previous = ~0u;
    for (uint32_t i = 0; i < p.stages; i += 2) {
      // Grids are read two stages ahead, over the border of a tile too.
      uint32_t ahead = i + 2;
      if (ahead == p.stages) {
        ahead = 0;
        if (tile + step < tiles) reader.go_to(row_of(tile + step));
      }
#pragma unroll
      for (int slot = 0; slot < 2; ++slot) {
        shared.full(cursor.index).wait(cursor.parity);
        multiply_chunk<T, S, Grid, Tile, one_group>(shared.stage(cursor.index), grids[slot], sums,
                                                    [&] {
                                                      if (previous != ~0u) leave(previous);
                                                    });
        reader.read(chunk_of(ahead + slot), grids[slot]);
        previous = cursor.index;
        cursor.advance();
      }
    }
    wait_for_products<0>();
    leave(previous);
    const TilePlace place = place_of_tile<Tile>(p, tile);
    if constexpr (Tile::kCanShare) {  // of one tile
      if (cluster_place().blocks > 1) return store_shared_sums<T, Tile>(p, sums, shared, place);
    }
    if constexpr (Tile::kHalves) add_halves<Tile>(sums, shared);
    if (!Tile::kHalves || warpgroup == 0) store_sums<T, Tile>(p, sums, shared, place);
  }
}

template <class T, class S, class Grid, class Tile, bool one_group>
__global__ void __launch_bounds__(Tile::kThreads, Tile::kBlocks)
    quantized_linear_warpgroups_kernel(const __grid_constant__ WarpgroupProduct p) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  extern __shared__ __align__(1024) uint4 stages[];
  const WarpgroupShared<Tile> shared{shared_address(stages)};
  if (threadIdx.x == 0) {
    for (int stage = 0; stage < Tile::kStages; ++stage) {
      shared.full(stage).initialize(1);
      shared.empty(stage).initialize(kWarpgroups);
    }
    publish_barriers();
  }
  __syncthreads();
  let_next_begin();
  if (threadIdx.x >= Tile::kMultiplyThreads) {
    if constexpr (Tile::kMovesRegisters) leave_registers<40>();
    if (threadIdx.x == Tile::kMultiplyThreads) copy_stages<Tile>(p, shared);
    __syncwarp();
  } else {
    if constexpr (Tile::kMovesRegisters) take_registers<232>();
    multiply_stages<T, S, Grid, Tile, one_group>(p, shared);
  }
#else
  __trap();  // the host launches it on sm_90 only, and in builds that have the code for sm_90a
#endif
}

template <class T, class S, class Grid, class Tile, bool one_group>
void launch(const QuantizedLinearParams& q, unsigned shares, cudaStream_t stream) {
  const auto rows = static_cast<uint64_t>(q.weight.rows),
             cols = static_cast<uint64_t>(q.weight.cols), tokens = static_cast<uint64_t>(q.tokens);
  constexpr auto kType = std::is_same_v<T, numerics::BFloat16> ? CU_TENSOR_MAP_DATA_TYPE_BFLOAT16
                                                               : CU_TENSOR_MAP_DATA_TYPE_FLOAT16;
  constexpr auto kSwizzle =
      Tile::kRowBytes == 128 ? CU_TENSOR_MAP_SWIZZLE_128B : CU_TENSOR_MAP_SWIZZLE_64B;
  const WarpgroupProduct p = {
      make_tensor_map({CU_TENSOR_MAP_DATA_TYPE_UINT8, q.packed_codes, rows, cols / 2, cols / 2,
                       Tile::kRows, Tile::kRowBytes, kSwizzle}),
      make_tensor_map({kType, q.input, tokens, cols, cols * 2, Tile::kProductTokens, kHalfChunk,
                       CU_TENSOR_MAP_SWIZZLE_128B}),
      q.scales,
      q.zeros,
      q.output,
      static_cast<uint32_t>(rows),
      static_cast<uint32_t>(tokens),
      columns_of(q.weight),
      static_cast<uint32_t>(2 *
                            ceil_divide(q.weight.cols, 2 * Tile::kStageChunks * kChunk * shares)),
      static_cast<uint32_t>(ceil_divide(q.weight.rows, Tile::kRows)),
      static_cast<uint32_t>(ceil_divide(q.tokens, Tile::kTokens)),
      q.weight_is_fresh,
      rows % kOctet == 0 && is_aligned(q.output, 16)};
  const auto resident =
      static_cast<unsigned>(Tile::kBlocks * device_attribute(cudaDevAttrMultiProcessorCount));
  const auto kernel = quantized_linear_warpgroups_kernel<T, S, Grid, Tile, one_group>;
  NIBBLE_CHECK(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                    Tile::kSharedBytes) == cudaSuccess,
               "quantized_linear_warpgroups_kernel needs ", Tile::kSharedBytes,
               " bytes of shared memory, more than this GPU has");
  launch_overlapping("quantized_linear_warpgroups_kernel", kernel,
                     {std::min(p.row_tiles * p.token_tiles * shares, resident), Tile::kThreads,
                      Tile::kSharedBytes, shares},
                     stream, p);
}

template <class T, class S, class Grid, class Tile>
void launch(const QuantizedLinearParams& q, unsigned shares, cudaStream_t stream) {
  q.weight.group_size % kChunk == 0 ? launch<T, S, Grid, Tile, true>(q, shares, stream)
                                    : launch<T, S, Grid, Tile, false>(q, shares, stream);
}

/// How many blocks share a tile's columns, and what the product then takes on an H200, beside what
/// it takes with any tile, in hundredths of a microsecond.
struct TilePlan {
  unsigned shares;
  int64_t cost;
};

/// `stage` and `tile` are the costs of 128 columns and of storing. Tiles are computed in rounds of
/// as many as there are multiprocessors; of fewer each may be shared by several.
template <class Tile>
TilePlan plan_tiles(const QuantizedLinearParams& q, int64_t stage, int64_t tile) {
  constexpr int64_t kSharing = 170;
  const unsigned most_shares = Tile::kCanShare ? most_cluster_blocks() : 1;
  const int64_t multiprocessors = device_attribute(cudaDevAttrMultiProcessorCount);
  const int64_t tiles =
      ceil_divide(q.tokens, Tile::kTokens) * ceil_divide(q.weight.rows, Tile::kRows);
  const int64_t pairs = ceil_divide(q.weight.cols, 2 * kChunk);
  TilePlan best = {1, ceil_divide(tiles, multiprocessors) * (2 * pairs * stage + tile)};
  for (unsigned shares = 2; shares <= most_shares && shares <= pairs; ++shares) {
    // Pairs find room on all multiprocessors, larger clusters on an H200 on three in four.
    if (tiles * shares > (shares == 2 ? multiprocessors : multiprocessors * 3 / 4)) break;
    const int64_t cost = 2 * ceil_divide(pairs, shares) * stage + tile + kSharing;
    if (cost < best.cost) best = {shares, cost};
  }
  return best;
}

template <class T, class S, class Grid>
void launch_large_tiles(const QuantizedLinearParams& q, cudaStream_t stream) {
  using Narrow = WarpgroupTile<128, 4, 1, false>;
  using Middle = WarpgroupTile<192, 3, 1, false>;
  using Wide = WarpgroupTile<256, 3, 1, false>;
  using Widest = WarpgroupTile<320, 2, 1, false>;
  const TilePlan narrow = plan_tiles<Narrow>(q, 85, 70), middle = plan_tiles<Middle>(q, 113, 120),
                 wide = plan_tiles<Wide>(q, 145, 160), widest = plan_tiles<Widest>(q, 177, 180);
  const int64_t least = std::min({narrow.cost, middle.cost, wide.cost, widest.cost});
  if (narrow.cost == least) {
    launch<T, S, Grid, Narrow>(q, narrow.shares, stream);
  } else if (middle.cost == least) {
    launch<T, S, Grid, Middle>(q, middle.shares, stream);
  } else if (wide.cost == least) {
    launch<T, S, Grid, Wide>(q, wide.shares, stream);
  } else {
    launch<T, S, Grid, Widest>(q, widest.shares, stream);
  }
}

template <class T, class S, class Grid>
void launch(const QuantizedLinearParams& q, cudaStream_t stream) {
  if (q.tokens <= 32) {
    launch<T, S, Grid, WarpgroupTile<32, 4, 2, true>>(q, 1, stream);
  } else if (q.tokens <= 64) {
    launch<T, S, Grid, WarpgroupTile<64, 8, 1, false>>(q, 1, stream);
  } else {
    launch_large_tiles<T, S, Grid>(q, stream);
  }
}

}  // namespace

bool can_run_warpgroups([[maybe_unused]] const QuantizedLinearParams& params) {
#if defined(NIBBLE_SM_90A)
  return params.tokens <= kMostTokens && device_attribute(cudaDevAttrComputeCapabilityMajor) == 9;
#else
  return false;
#endif
}

void quantized_linear_warpgroups(const QuantizedLinearParams& params, cudaStream_t stream) {
  dispatch_16_bit_int4(params.weight, [&](auto element, auto scale, auto grid) {
    launch<typename decltype(element)::type, typename decltype(scale)::type,
           typename decltype(grid)::type>(params, stream);
  });
}

}  // namespace nibble::kernels::cuda
