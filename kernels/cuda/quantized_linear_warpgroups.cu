#include <limits>

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
  const uint32_t first_row = place_of_tile<Tile>(p, blockIdx.x).row;
  for (uint32_t i = 0; i < Tile::kStages && i < p.stages; ++i) {
    prefetch_box(p.codes, i * Tile::kRowBytes, first_row);
  }
  wait_for_previous();
  StageCursor<Tile> cursor;
  for (uint32_t tile = blockIdx.x; tile < p.row_tiles * p.token_tiles; tile += gridDim.x) {
    const TilePlace place = place_of_tile<Tile>(p, tile);
    for (uint32_t i = 0; i < p.stages; ++i) {
      const uint32_t stage = shared.stage(cursor.index);
      const CopyBarrier full = shared.full(cursor.index);
      shared.empty(cursor.index).wait(cursor.parity ^ 1);
      full.arrive_and_expect(Tile::kStageBytes);
      copy_box(p.codes, i * Tile::kRowBytes, place.row, stage, full);
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
  const auto row_of = [&](uint32_t tile) {
    return place_of_tile<Tile>(p, tile).row + (Tile::kHalves ? 0 : warpgroup * kProductRows);
  };
  const auto chunk_of = [&](uint32_t stage) {
    return Tile::kHalves ? 2 * stage + warpgroup : stage;
  };
  const auto leave = [&](uint32_t stage) {
    if (threadIdx.x % kWarpgroup == 0) shared.empty(stage).arrive();
  };
  RowGridReader<S, Grid, one_group> reader(p);
  RowGrid<S> grids[2][2] = {};
  reader.go_to(row_of(blockIdx.x));
  reader.read(chunk_of(0), grids[0]);
  reader.read(chunk_of(1), grids[1]);
  StageCursor<Tile> cursor;
  for (uint32_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
    float sums[Tile::kTokens / 2] = {};
    uint32_t previous = ~0u;
    for (uint32_t i = 0; i < p.stages; i += 2) {
      // Grids are read two stages ahead, over the border of a tile too.
      uint32_t ahead = i + 2;
      if (ahead == p.stages) {
        ahead = 0;
        if (tile + gridDim.x < tiles) reader.go_to(row_of(tile + gridDim.x));
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
    if constexpr (Tile::kHalves) add_halves<Tile>(sums, shared);
    if (!Tile::kHalves || warpgroup == 0) {
      store_sums<T, Tile>(p, sums, shared, place_of_tile<Tile>(p, tile));
    }
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
    if constexpr (Tile::kMovesRegisters) leave_registers<24>();
    if (threadIdx.x == Tile::kMultiplyThreads) copy_stages<Tile>(p, shared);
    __syncwarp();
  } else {
    if constexpr (Tile::kMovesRegisters) take_registers<240>();
    wait_for_previous();
    multiply_stages<T, S, Grid, Tile, one_group>(p, shared);
  }
#else
  __trap();  // the host launches it on sm_90 only, and in builds that have the code for sm_90a
#endif
}

template <class T, class S, class Grid, class Tile, bool one_group>
void launch(const QuantizedLinearParams& q, cudaStream_t stream) {
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
      static_cast<uint32_t>(2 * ceil_divide(q.weight.cols, 2 * Tile::kStageChunks * kChunk)),
      static_cast<uint32_t>(ceil_divide(q.weight.rows, Tile::kRows)),
      static_cast<uint32_t>(ceil_divide(q.tokens, Tile::kTokens)),
      rows % kOctet == 0 && is_aligned(q.output, 16)};
  const auto resident =
      static_cast<unsigned>(Tile::kBlocks * device_attribute(cudaDevAttrMultiProcessorCount));
  const auto kernel = quantized_linear_warpgroups_kernel<T, S, Grid, Tile, one_group>;
  NIBBLE_CHECK(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                    Tile::kSharedBytes) == cudaSuccess,
               "quantized_linear_warpgroups_kernel needs ", Tile::kSharedBytes,
               " bytes of shared memory, more than this GPU has");
  launch_overlapping(
      "quantized_linear_warpgroups_kernel", kernel,
      {std::min(p.row_tiles * p.token_tiles, resident), Tile::kThreads, Tile::kSharedBytes}, stream,
      p);
}

template <class T, class S, class Grid, class Tile>
void launch(const QuantizedLinearParams& q, cudaStream_t stream) {
  q.weight.group_size % kChunk == 0 ? launch<T, S, Grid, Tile, true>(q, stream)
                                    : launch<T, S, Grid, Tile, false>(q, stream);
}

/// What the tiles take, in rounds of as many as there are multiprocessors, one of which takes
/// `each`. Tiles that lack as many tokens as a narrower one has are never chosen: they take longer.
template <class Tile>
int64_t cost_of_tiles(const QuantizedLinearParams& q, int64_t each) {
  constexpr int64_t kNarrowTokens = 128;
  const int64_t token_tiles = ceil_divide(q.tokens, Tile::kTokens);
  if (token_tiles * Tile::kTokens - q.tokens >= kNarrowTokens) {
    return std::numeric_limits<int64_t>::max();
  }
  const int64_t tiles = token_tiles * ceil_divide(q.weight.rows, Tile::kRows);
  return each * ceil_divide(tiles, device_attribute(cudaDevAttrMultiProcessorCount));
}

template <class T, class S, class Grid>
void launch_large_tiles(const QuantizedLinearParams& q, cudaStream_t stream) {
  using Narrow = WarpgroupTile<128, 4, 1, false>;
  using Wide = WarpgroupTile<256, 3, 1, false>;
  using Widest = WarpgroupTile<320, 2, 1, false>;
  // In proportion to what they take on an H200.
  const int64_t narrow = cost_of_tiles<Narrow>(q, 10), wide = cost_of_tiles<Wide>(q, 14),
                widest = cost_of_tiles<Widest>(q, 17);
  if (widest < std::min(narrow, wide)) {
    launch<T, S, Grid, Widest>(q, stream);
  } else if (wide <= narrow) {
    launch<T, S, Grid, Wide>(q, stream);
  } else {
    launch<T, S, Grid, Narrow>(q, stream);
  }
}

template <class T, class S, class Grid>
void launch(const QuantizedLinearParams& q, cudaStream_t stream) {
  if (q.tokens <= 32) {
    launch<T, S, Grid, WarpgroupTile<32, 4, 2, true>>(q, stream);
  } else if (q.tokens <= 64) {
    launch<T, S, Grid, WarpgroupTile<64, 8, 1, false>>(q, stream);
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
