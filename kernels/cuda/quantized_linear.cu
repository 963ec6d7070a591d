#include <nibble/kernels/quantized_linear_cuda.h>

#include "device/int4_tiles.cuh"
#include "device/overlap.cuh"
#include "launch.h"
#include "quantized_linear_warpgroups.h"

namespace nibble::kernels {
namespace cuda {
namespace {

constexpr int64_t kFewTokens = 8;

/// What the warps have summed: [warp][token][row], padded: lanes write to different banks.
template <class Cut>
struct Partial {
  static constexpr uint32_t kStride = Cut::kRows + 4;
  static size_t bytes(uint32_t tokens) { return Cut::kWarps * tokens * kStride * sizeof(float); }
};

/// Adds the warps' sums in their order and stores them.
template <class T, class Cut>
__device__ __forceinline__ void store_sums(const Sums<Cut>& sums, float* partial,
                                           const Int4Product& product, uint32_t tokens,
                                           uint32_t block_row) {
  constexpr uint32_t kStride = Partial<Cut>::kStride;
  const uint32_t warp = threadIdx.x / kWarp, g = threadIdx.x % kWarp / 4, t = threadIdx.x % 4;
#pragma unroll
  for (int tile = 0; tile < Cut::kRowTiles; ++tile) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const uint32_t row = tile * kTileRows + g + (i / 2) * 8, token = 2 * t + i % 2;
      if (token < tokens) partial[(warp * tokens + token) * kStride + row] = sums[tile][i];
    }
  }
  __syncthreads();
#pragma unroll 1
  for (uint32_t i = threadIdx.x; i < tokens * Cut::kRows; i += Cut::kThreads) {
    const uint32_t token = i / Cut::kRows, row = i % Cut::kRows;
    if (block_row + row >= product.rows) continue;
    float sum = partial[token * kStride + row];
#pragma unroll
    for (int other = 1; other < Cut::kWarps; ++other) {
      sum = numerics::add(sum, partial[(other * tokens + token) * kStride + row]);
    }
    static_cast<T*>(product.output)[uint64_t{token} * product.rows + block_row + row] = T(sum);
  }
}

/// Has the block's rows of the weight brought into the L2 cache.
template <class Cut>
__device__ __forceinline__ void prefetch_weight(const Int4Product& product,
                                                const Int4Columns& columns, uint32_t block_row) {
  const uint32_t row = block_row + threadIdx.x;
  if (threadIdx.x < Cut::kRows && row < product.rows) {
    prefetch_to_l2(product.codes + uint64_t{row} * columns.units,
                   columns.units * static_cast<uint32_t>(sizeof(uint4)));
  }
}

template <class T, class S, class Grid, class Cut, bool scales_sums>
__global__ void __launch_bounds__(Cut::kThreads, Cut::kBlocks)
    quantized_linear_kernel(const __grid_constant__ Int4Products p) {
  extern __shared__ uint4 shared[];
  const Int4Product& product = product_of_block(p, blockIdx.x);
  const uint32_t block_row = (blockIdx.x - product.first_block) * Cut::kRows;
  if (p.prefetches) prefetch_weight<Cut>(product, p.columns, block_row);
  let_next_begin();
  wait_for_previous();

  const uint32_t warp = threadIdx.x / kWarp, g = threadIdx.x % kWarp / 4, t = threadIdx.x % 4;
  const uint32_t chunks = (p.columns.units + kChunkUnits - 1) / kChunkUnits;
  const uint32_t per_warp = (chunks + Cut::kWarps - 1) / Cut::kWarps;
  const uint32_t begin = warp * per_warp, end = min(begin + per_warp, chunks);
  const WeightReader<S, Grid, Cut, scales_sums> weight(product, p.columns, block_row);
  WeightChunk<S, Cut::kRowTiles> under_way[Cut::kAhead];
#pragma unroll
  for (int slot = 0; slot < Cut::kAhead; ++slot) {
    if (begin + slot < end) under_way[slot] = weight.read(begin + slot);
  }
  auto* partial = reinterpret_cast<float*>(shared);
  constexpr uint32_t kPartialOctets =
      Cut::kWarps * Partial<Cut>::kStride * sizeof(float) / sizeof(uint4);
  const SharedInput<T> input(shared + kPartialOctets * p.tokens, p.tokens, p.columns.units * kUnit);
  input.template fill<scales_sums>(p.input);
  __syncthreads();

  uint32_t step;
  const uint4* octets = input.first(g, step);
  octets += begin * step;
  Sums<Cut> sums = {};
  for (uint32_t first = begin; first < end; first += Cut::kAhead) {
#pragma unroll
    for (int slot = 0; slot < Cut::kAhead; ++slot) {
      const uint32_t chunk = first + slot;
      if (chunk >= end) break;
      if constexpr (scales_sums) {
        const float input_sums[2] = {input.sum(Cut::kTokens == 1 ? 0 : 2 * t, chunk),
                                     Cut::kTokens == 1 ? 0.0f : input.sum(2 * t + 1, chunk)};
        add_scaled_codes<T, S, Grid, Cut>(under_way[slot], octets, input_sums, sums);
      } else {
        add_values<T, S, Grid, Cut>(under_way[slot], octets, sums);
      }
      octets += step;
      if (chunk + Cut::kAhead < end) under_way[slot] = weight.read(chunk + Cut::kAhead);
    }
  }
  store_sums<T, Cut>(sums, partial, product, p.tokens, block_row);
}

template <class Cut>
unsigned number_blocks(Int4Products& products, int64_t count) {
  unsigned blocks = 0;
  for (int64_t i = 0; i < kMostSharedProducts; ++i) {
    Int4Product& product = products.products[i];
    product.first_block = i < count ? blocks : ~0u;
    if (i < count) blocks += (product.rows + Cut::kRows - 1) / Cut::kRows;
  }
  return blocks;
}

template <class T, class S, class Grid, class Cut, bool scales_sums>
void launch(Int4Products products, int64_t count, cudaStream_t stream) {
  const unsigned blocks = number_blocks<Cut>(products, count);
  const size_t bytes = Partial<Cut>::bytes(products.tokens) +
                       SharedInput<T>::bytes(products.tokens, products.columns.units * kUnit);
  // Where the blocks cannot all begin at once, later ones would only ask twice.
  products.prefetches =
      blocks <=
      static_cast<unsigned>(Cut::kBlocks * device_attribute(cudaDevAttrMultiProcessorCount));
  const auto kernel = quantized_linear_kernel<T, S, Grid, Cut, scales_sums>;
  NIBBLE_CHECK(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                    static_cast<int>(bytes)) == cudaSuccess,
               "quantized_linear_kernel needs ", bytes,
               " bytes of shared memory, more than this GPU has");
  launch_overlapping("quantized_linear_kernel", kernel, {blocks, Cut::kThreads, bytes}, stream,
                     products);
}

/// Tiles of rows for each multiprocessor, rounded up.
int64_t tiles_each(const Int4Products& products, int64_t count) {
  int64_t tiles = 0;
  for (int64_t i = 0; i < count; ++i) tiles += ceil_divide(products.products[i].rows, kTileRows);
  return ceil_divide(tiles, device_attribute(cudaDevAttrMultiProcessorCount));
}

template <class T, class S, class Grid, bool scales_sums>
void launch(const Int4Products& products, int64_t count, cudaStream_t stream) {
  if (products.tokens > 1) {
    return launch<T, S, Grid, Cut<4, 8, 8, 1, 2>, scales_sums>(products, count, stream);
  }
  // The fewer tiles there are, the more of each must be under way.
  const int64_t tiles = tiles_each(products, count);
  if (tiles <= 1) {
    launch<T, S, Grid, Cut<1, 1, 16, 4, 1>, scales_sums>(products, count, stream);
  } else if (tiles <= 2) {
    launch<T, S, Grid, Cut<1, 1, 16, 2, 2>, scales_sums>(products, count, stream);
  } else {
    launch<T, S, Grid, Cut<1, 1, 8, 2, 4>, scales_sums>(products, count, stream);
  }
}

bool share_columns(const QuantizedLinearParams& a, const QuantizedLinearParams& b) {
  return a.input == b.input && a.tokens == b.tokens && a.weight.cols == b.weight.cols &&
         a.weight.grid == b.weight.grid && a.weight.dtype == b.weight.dtype &&
         a.weight.scale_dtype == b.weight.scale_dtype && a.weight.group_size == b.weight.group_size;
}

Int4Products products_of(const QuantizedLinearParams* params, int64_t count) {
  Int4Products result = {
      {}, columns_of(params->weight), static_cast<uint32_t>(params->tokens), params->input, false};
  for (int64_t i = 0; i < count; ++i) {
    result.products[i] = {reinterpret_cast<const uint4*>(params[i].packed_codes),
                          params[i].scales,
                          params[i].zeros,
                          params[i].output,
                          static_cast<uint32_t>(params[i].weight.rows),
                          0};
  }
  return result;
}

/// Whether a block can hold the input, and a tensor core's tile all of its tokens.
bool are_few_tokens(const QuantizedLinearParams& p) {
  constexpr int64_t kMostInputBytes = 128 * 1024;  // sm_80 has 160 KB a block
  return p.tokens <= kFewTokens && p.tokens * p.weight.cols * 2 <= kMostInputBytes;
}

}  // namespace
}  // namespace cuda

bool can_run_quantized_linear(const QuantizedLinearParams& p) {
  const GroupedMatrix& m = p.weight;
  return m.grid != GridKind::kAsymmetricInt8 && m.dtype != DType::kFloat32 && m.rows > 0 &&
         m.cols > 0 && m.group_size % cuda::kUnit == 0 &&
         m.rows * m.cols < int64_t{cuda::kUnit} << 32 && p.tokens >= 1 &&
         cuda::is_aligned(p.packed_codes, 16) && cuda::is_aligned(p.input, 16) &&
         (cuda::are_few_tokens(p) || cuda::can_run_warpgroups(p));
}

bool can_run_quantized_linears(const QuantizedLinearParams* params, int64_t count) {
  if (count < 1 || count > kMostSharedProducts) return false;
  return std::all_of(params, params + count, [&](const QuantizedLinearParams& other) {
    return can_run_quantized_linear(other) && cuda::share_columns(*params, other);
  });
}

void quantized_linears_cuda(const QuantizedLinearParams* params, int64_t count,
                            CUstream_st* stream) {
  const GroupedMatrix& weight = params->weight;
  NIBBLE_CHECK(can_run_quantized_linears(params, count), "quantized_linears_cuda does not take ",
               count, " products of ", params->tokens, " tokens, the first weight [", weight.rows,
               ", ", weight.cols, "] in groups of ", weight.group_size);
  if (!cuda::are_few_tokens(*params)) {
    for (int64_t i = 0; i < count; ++i) cuda::quantized_linear_warpgroups(params[i], stream);
    return;
  }
  const bool scales_sums = weight.group_size % (cuda::kChunkUnits * cuda::kUnit) == 0;
  dispatch_grid(weight, [&](auto element, auto scale, auto grid) {
    using T = typename decltype(element)::type;
    using S = typename decltype(scale)::type;
    using Grid = typename decltype(grid)::type;
    if constexpr (!std::is_same_v<T, float> && Grid::kMaxCode - Grid::kMinCode == 15.0f) {
      const cuda::Int4Products products = cuda::products_of(params, count);
      scales_sums ? cuda::launch<T, S, Grid, true>(products, count, stream)
                  : cuda::launch<T, S, Grid, false>(products, count, stream);
    }
  });
}

void quantized_linear_cuda(const QuantizedLinearParams& params, CUstream_st* stream) {
  quantized_linears_cuda(&params, 1, stream);
}

}  // namespace nibble::kernels
