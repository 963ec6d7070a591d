#include "device/input_row.cuh"
#include "device/int4_held_input.cuh"
#include "device/overlap.cuh"
#include "quantized_linear_stream.h"
#include "stream_plan.h"

namespace nibble::kernels::cuda {
namespace {

template <class Cut>
using TileSums = float[Cut::kTokenTiles][4];

/// The products of a row tile and the columns that the warp holds. `places` are those of row g's
/// grids. Either values rounded to T are multiplied, or, where a chunk lies in one group, its
/// codes, and their sum is scaled: a third of the instructions.
template <class T, class S, class Grid, class Cut, bool scales_sums>
__device__ __forceinline__ void multiply_tile(const uint4 (&codes)[Cut::kChunks][2],
                                              const GridTable<S, Grid>& grids,
                                              const uint32_t (&places)[Cut::kChunks],
                                              const HeldInput<T, Cut>& input, TileSums<Cut>& sums) {
  float scales[Cut::kChunks][2], zeros[Cut::kChunks][2];
  float products[Cut::kChunks][Cut::kTokenTiles][4] = {};
#pragma unroll
  for (int chunk = 0; chunk < Cut::kChunks; ++chunk) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const uint32_t place = places[chunk] + half * grids.rows_bytes(kTileRows / 2);
      scales[chunk][half] = grids.scale(place);
      zeros[chunk][half] = grids.zero(place);
    }
  }
  const auto operand = [&](int chunk, int half, int octet, int pair) {
    const uint32_t bits = word(codes[chunk][half], octet);
    if constexpr (scales_sums) {
      return fraction_pair<T>(bits, pair);
    } else {
      const Grid grid = restore_grid(Tag<Grid>{}, scales[chunk][half], zeros[chunk][half]);
      return value_pair<T, S>(grid, bits >> (4 * pair));
    }
  };
#pragma unroll
  for (int octet = 0; octet < kUnit / kOctet; ++octet) {
#pragma unroll
    for (int pair = 0; pair < 4; pair += 2) {
      uint32_t weight[Cut::kChunks][4];
#pragma unroll
      for (int chunk = 0; chunk < Cut::kChunks; ++chunk) {
#pragma unroll
        for (int i = 0; i < 4; ++i) weight[chunk][i] = operand(chunk, i % 2, octet, pair + i / 2);
      }
#pragma unroll
      for (int chunk = 0; chunk < Cut::kChunks; ++chunk) {
#pragma unroll
        for (int tile = 0; tile < Cut::kTokenTiles; ++tile) {
          const uint4 x = input.octet(chunk, tile, octet);
          multiply_accumulate<T>(products[chunk][tile], weight[chunk],
                                 {pair == 0 ? x.x : x.z, pair == 0 ? x.y : x.w});
        }
      }
    }
  }
#pragma unroll
  for (int chunk = 0; chunk < Cut::kChunks; ++chunk) {
#pragma unroll
    for (int tile = 0; tile < Cut::kTokenTiles; ++tile) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        if (Cut::kTokens == 1 && i % 2 != 0) continue;
        float& sum = sums[tile][i];
        if constexpr (scales_sums) {
          const float x = input.sum(chunk, tile, i % 2);
          const float centered =
              fmaf(kFractionScale, products[chunk][tile][i], -kFractionOffset * x);
          sum = fmaf(scales[chunk][i / 2], centered, sum);
          if (!Grid::kIsSymmetric) sum = fmaf(zeros[chunk][i / 2], x, sum);
        } else {
          sum += products[chunk][tile][i];
        }
      }
    }
  }
}

/// Keeps a tile's sums, or adds them to those of earlier passes. `target` is the warp's.
template <class Cut>
__device__ __forceinline__ void keep_sums(const TileSums<Cut>& sums, bool is_first, float* target) {
  const uint32_t g = threadIdx.x % kWarp / 4, t = threadIdx.x % 4;
  if (Cut::kTokens == 1 && t != 0) return;
#pragma unroll
  for (int tile = 0; tile < Cut::kTokenTiles; ++tile) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (Cut::kTokens == 1 && i % 2 != 0) continue;
      float& kept = target[(tile * kTileTokens + 2 * t + i % 2) * Cut::kSumStride + g + i / 2 * 8];
      kept = is_first ? sums[tile][i] : numerics::add(kept, sums[tile][i]);
    }
  }
}

/// Adds the warps' sums of `tiles` row tiles from `first` on, in their order, and stores them.
template <class T, class Cut>
__device__ __forceinline__ void store_sums(const StreamBlock& block, const float* kept,
                                           uint32_t warps, uint32_t tokens, uint32_t first,
                                           uint32_t tiles) {
#pragma unroll 1
  for (uint32_t i = threadIdx.x; i < tiles * Cut::kTokens * kTileRows; i += blockDim.x) {
    const uint32_t row = i % kTileRows, token = i / kTileRows % Cut::kTokens,
                   tile = i / (kTileRows * Cut::kTokens);
    const uint32_t block_row = (first + tile) * kTileRows + row;
    if (block_row >= block.rows || token >= tokens) continue;
    const float* from = kept + tile * warps * Cut::kSums + token * Cut::kSumStride + row;
    float sum = from[0];
#pragma unroll 8
    for (uint32_t warp = 1; warp < warps; ++warp) {
      sum = numerics::add(sum, from[warp * Cut::kSums]);
    }
    static_cast<T*>(
        block.product.output)[uint64_t{token} * block.product.rows + block.first_row + block_row] =
        T(sum);
  }
}

template <class T, class S, class Grid, class Cut, bool scales_sums>
__global__ void __launch_bounds__(Cut::kThreads, Cut::kBlocks)
    quantized_linear_stream_kernel(const __grid_constant__ Int4Products p,
                                   const __grid_constant__ StreamPlan plan) {
  extern __shared__ uint4 shared[];
  constexpr uint32_t kLine = sizeof(uint4);
  if (plan.lets_next_begin_first) let_next_begin();
  const StreamBlock block = StreamBlock::here(p, plan);
  const uint32_t warp = threadIdx.x / kWarp, warps = blockDim.x / kWarp, lane = threadIdx.x % kWarp;
  uint4* const table = shared + input_row_bytes(p) / kLine;
  uint4* const rings = table + plan.grid_bytes * (Grid::kIsSymmetric ? 1 : 2) / kLine;
  uint4* const inputs = rings + warps * (Cut::kRingBytes / kLine);
  auto* const kept = reinterpret_cast<float*>(inputs + warps * (Cut::kInputBytes / kLine));

  if (plan.waits_first) wait_for_previous();
  const InputRow<T> row(p, shared);
  row.copy_weight();
  const GridTable<S, Grid> grids(plan, table);
  grids.copy(block, plan, p.columns.groups);
  CodeRing<Cut> ring(block, plan, p.columns, rings);
  wait_for_copy_groups<Cut::kSlots>();
  __syncthreads();
  wait_for_previous();
  if (!plan.lets_next_begin_first) let_next_begin();

  row.make();
  HeldInput<T, Cut> input(inputs + warp * (Cut::kInputBytes / kLine));
  for (uint32_t section = 0; section < block.tiles; section += plan.section_tiles) {
    const uint32_t end = min(section + plan.section_tiles, block.tiles);
    for (uint32_t pass = 0; pass < plan.passes; ++pass) {
      const uint32_t first_chunk = block.chunk<Cut>(plan, pass);
      if (section == 0) {  // there is one section where there are more passes
        input.template read<scales_sums>(row.input(), p.tokens, p.columns.units, first_chunk);
      }
      uint32_t places[Cut::kChunks];
#pragma unroll
      for (int chunk = 0; chunk < Cut::kChunks; ++chunk) {
        const uint32_t unit =
            min((first_chunk + chunk) * kChunkUnits + lane % 4, p.columns.units - 1);
        places[chunk] = grids.place((section + block.warp_row) * kTileRows + lane / 4,
                                    p.columns.units_per_group.quotient(unit));
      }
      float* target = kept + (block.warp_row * plan.warps_across + block.warp_column) * Cut::kSums;
#pragma unroll 1
      for (uint32_t tile = section + block.warp_row; tile < end; tile += plan.warps_down) {
        uint4 codes[Cut::kChunks][2];
        TileSums<Cut> sums = {};
        ring.read(codes);
        multiply_tile<T, S, Grid, Cut, scales_sums>(codes, grids, places, input, sums);
        ring.replace();
        keep_sums<Cut>(sums, pass == 0, target);
        target += plan.warps_down * plan.warps_across * Cut::kSums;
#pragma unroll
        for (uint32_t& place : places) place += grids.rows_bytes(plan.warps_down * kTileRows);
      }
    }
    __syncthreads();
    store_sums<T, Cut>(block, kept, plan.warps_across, p.tokens, section, end - section);
    if (end < block.tiles) __syncthreads();
  }
}

Int4Products products_of(const QuantizedLinearParams* params, int64_t count,
                         const TokenSource& source) {
  Int4Products result = {
      {}, columns_of(params->weight), static_cast<uint32_t>(params->tokens), params->input, source};
  for (int64_t i = 0; i < count; ++i) {
    Int4Product& product = result.products[i];
    product.codes = reinterpret_cast<const uint4*>(params[i].packed_codes);
    product.scales = params[i].scales;
    product.zeros = params[i].zeros;
    product.output = params[i].output;
    product.rows = static_cast<uint32_t>(params[i].weight.rows);
  }
  return result;
}

bool scales_sums(const GroupedMatrix& weight) { return weight.group_size % kChunkColumns == 0; }

/// Calls body(cut). More chunks a warp mean fewer passes, but registers for fewer blocks.
template <bool scales_sums, class Body>
void choose_cut(const QuantizedLinearParams& params, Body&& body) {
  if constexpr (scales_sums) {
    if (params.weight.cols > kStreamWarps * kChunkColumns && params.tokens <= kTileTokens) {
      return params.tokens == 1 ? body(StreamCut<1, 2, 2, 2>{}) : body(StreamCut<8, 2, 2, 1>{});
    }
  }
  if (params.tokens == 1) return body(StreamCut<1, 1, 4, 2>{});
  if (params.tokens <= kTileTokens) return body(StreamCut<8, 1, 4, 2>{});
  return body(StreamCut<16, 1, 4, 1>{});
}

template <class T, class S, class Grid, bool scales_sums>
void launch(const QuantizedLinearParams* params, int64_t count, const TokenSource& source,
            cudaStream_t stream) {
  choose_cut<scales_sums>(*params, [&](auto cut) {
    using Cut = decltype(cut);
    Int4Products products = products_of(params, count, source);
    auto launch = plan_stream<Cut>(products, count, sizeof(S), !Grid::kIsSymmetric);
    NIBBLE_CHECK(launch, "quantized_linear_stream_kernel needs more shared memory for ",
                 products.columns.groups, " groups a row than this GPU has");
    launch->plan.waits_first = std::any_of(
        params, params + count, [](const auto& product) { return product.weight_is_fresh; });
    const auto kernel = quantized_linear_stream_kernel<T, S, Grid, Cut, scales_sums>;
    // The same for all launches: another thread may be at another one.
    const int most = device_attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin);
    NIBBLE_CHECK(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, most) ==
                     cudaSuccess,
                 "quantized_linear_stream_kernel is refused ", most,
                 " bytes of shared memory, what this GPU says that it has");
    launch_overlapping("quantized_linear_stream_kernel", kernel, launch->shape, stream, products,
                       launch->plan);
  });
}

}  // namespace

bool can_run_stream(const QuantizedLinearParams& params, const TokenSource& source) {
  constexpr int64_t kMostTokens = 16, kMostCols = int64_t{1} << 28;  // offsets have 32 bits
  if (params.tokens > kMostTokens || params.weight.cols >= kMostCols) return false;
  if (source.is_given() && params.tokens != 1) return false;
  bool fits = false;
  const auto try_plan = [&](auto cut) {
    Int4Products products = products_of(&params, 1, source);
    fits = plan_stream<decltype(cut)>(products, 1,
                                      static_cast<size_t>(bytes_of(params.weight.scale_dtype)),
                                      params.weight.grid == GridKind::kAffineInt4)
               .has_value();
  };
  scales_sums(params.weight) ? choose_cut<true>(params, try_plan)
                             : choose_cut<false>(params, try_plan);
  return fits;
}

void quantized_linears_stream(const QuantizedLinearParams* params, int64_t count,
                              const TokenSource& source, cudaStream_t stream) {
  dispatch_16_bit_int4(params->weight, [&](auto element, auto scale, auto grid) {
    using T = typename decltype(element)::type;
    using S = typename decltype(scale)::type;
    using Grid = typename decltype(grid)::type;
    scales_sums(params->weight) ? launch<T, S, Grid, true>(params, count, source, stream)
                                : launch<T, S, Grid, false>(params, count, source, stream);
  });
}

}  // namespace nibble::kernels::cuda
