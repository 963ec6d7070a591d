#include <nibble/kernels/quantized_linear_cuda.h>

#include "../grid_dispatch.h"
#include "device/extremes.cuh"
#include "device/int4_tiles.cuh"
#include "device/tensor_core.cuh"
#include "launch.h"

namespace nibble::kernels {
namespace cuda {
namespace {

constexpr int64_t kMostTokens = 64;

/// Adds the products of one chunk: rows of the weight's tiles by all tokens.
template <class T, class S, class Grid, class Cut, class Input>
__device__ __forceinline__ void add_chunk(const WeightChunk<S, Cut::kRowTiles>& weight,
                                          bool has_zeros, const Input& input, uint32_t chunk,
                                          bool inside, uint32_t all_tokens,
                                          float (&sums)[Cut::kRowTiles][Cut::kTokenTiles][4]) {
  const uint32_t g = threadIdx.x % kWarp / 4, t = threadIdx.x % 4;
  Grid grids[Cut::kRowTiles][2];
#pragma unroll
  for (int tile = 0; tile < Cut::kRowTiles; ++tile) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float zero = has_zeros ? static_cast<float>(weight.zeros[tile][half]) : 0.0f;
      grids[tile][half] =
          restore_grid(Tag<Grid>{}, static_cast<float>(weight.scales[tile][half]), zero);
    }
  }
#pragma unroll
  for (int octet = 0; octet < kLaneColumns / kOctet; ++octet) {
    uint4 x[Cut::kTokenTiles];
#pragma unroll
    for (int tokens = 0; tokens < Cut::kTokenTiles; ++tokens) {
      const uint32_t token = tokens * kTileTokens + g;
      x[tokens] = inside && token < all_tokens ? input.read(token, chunk, octet, t)
                                               : make_uint4(0, 0, 0, 0);
    }
#pragma unroll
    for (int tile = 0; tile < Cut::kRowTiles; ++tile) {
      uint32_t w[4][2];
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const uint32_t codes = word(weight.codes[tile][half], octet);
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          w[i][half] = value_pair<T, S>(grids[tile][half], (codes >> (4 * i)) & 0x000f000fu);
        }
      }
#pragma unroll
      for (int tokens = 0; tokens < Cut::kTokenTiles; ++tokens) {
        auto& sum = sums[tile][tokens];
        multiply_accumulate<T>(sum, {w[0][0], w[0][1], w[1][0], w[1][1]},
                               {x[tokens].x, x[tokens].y});
        multiply_accumulate<T>(sum, {w[2][0], w[2][1], w[3][0], w[3][1]},
                               {x[tokens].z, x[tokens].w});
      }
    }
  }
}

/// Adds the warps' sums in their order and stores them. `partial` is the block's.
template <class T, class Cut>
__device__ __forceinline__ void store_sums(const float (&sums)[Cut::kRowTiles][Cut::kTokenTiles][4],
                                           float (*partial)[Cut::kTokens][Cut::kRows],
                                           const QuantizedLinearParams& p, uint32_t block_row) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int g = lane / 4, t = lane % 4;
#pragma unroll
  for (int tile = 0; tile < Cut::kRowTiles; ++tile) {
#pragma unroll
    for (int tokens = 0; tokens < Cut::kTokenTiles; ++tokens) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int row = tile * kTileRows + g + (i / 2) * 8;
        const int token = tokens * kTileTokens + 2 * t + i % 2;
        partial[warp][token][row] = sums[tile][tokens][i];
      }
    }
  }
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.x); i < Cut::kTokens * Cut::kRows;
       i += Cut::kWarps * kWarp) {
    const int token = i / Cut::kRows, row = i % Cut::kRows;
    if (token >= p.tokens || block_row + row >= p.weight.rows) continue;
    float sum = partial[0][token][row];
#pragma unroll
    for (int from = 1; from < Cut::kWarps; ++from) {
      sum = numerics::add(sum, partial[from][token][row]);
    }
    static_cast<T*>(p.output)[token * p.weight.rows + block_row + row] = T(sum);
  }
  __syncthreads();
}

/// A block goes through the row tiles blockIdx.x, blockIdx.x + gridDim.x, ...; the weight's next
/// chunk is always under way, over the border of a tile too.
template <class T, class S, class Grid, class Cut, bool input_is_shared>
__global__ void __launch_bounds__(Cut::kWarps* kWarp)
    quantized_linear_kernel(QuantizedLinearParams p, Divider units_per_group) {
  __shared__ float partial[Cut::kWarps][Cut::kTokens][Cut::kRows];
  extern __shared__ uint4 shared_octets[];
  const uint32_t warp = threadIdx.x / kWarp;
  const uint32_t g = threadIdx.x % kWarp / 4, t = threadIdx.x % 4;
  const auto rows = static_cast<uint32_t>(p.weight.rows),
             cols = static_cast<uint32_t>(p.weight.cols);
  const auto tokens = static_cast<uint32_t>(p.tokens);
  const uint32_t units = cols / kLaneColumns, chunks = (units + 3) / 4;
  const WeightReader<S, Cut> weight{p, units_per_group};
  // Lanes beyond a short last chunk read the first columns and zeros of the input.
  const auto read = [&](uint32_t row, uint32_t chunk) {
    const uint32_t unit = chunk * 4 + t;
    return weight.read(row + g, unit < units ? unit : 0);
  };
  uint32_t row = blockIdx.x * Cut::kRows;
  auto next = read(row, warp);
  const SharedInput shared{shared_octets, SharedInput::stride(cols)};
  if constexpr (input_is_shared) {
    shared.fill(p.input, tokens, cols);
    __syncthreads();
  }
  for (; row < rows; row += gridDim.x * Cut::kRows) {
    float sums[Cut::kRowTiles][Cut::kTokenTiles][4] = {};
    for (uint32_t chunk = warp; chunk < chunks; chunk += Cut::kWarps) {
      const auto now = next;
      const bool is_last = chunk + Cut::kWarps >= chunks;
      next = is_last ? read(row + gridDim.x * Cut::kRows, warp) : read(row, chunk + Cut::kWarps);
      const bool inside = chunk * 4 + t < units;
      if constexpr (input_is_shared) {
        add_chunk<T, S, Grid, Cut>(now, p.zeros != nullptr, shared, chunk, inside, tokens, sums);
      } else {
        const GlobalInput<T> input{static_cast<const T*>(p.input), cols};
        add_chunk<T, S, Grid, Cut>(now, p.zeros != nullptr, input, chunk, inside, tokens, sums);
      }
    }
    store_sums<T, Cut>(sums, partial, p, row);
  }
}

int device_attribute(cudaDeviceAttr attribute) {
  int device = 0, value = 0;
  NIBBLE_CHECK(cudaGetDevice(&device) == cudaSuccess &&
                   cudaDeviceGetAttribute(&value, attribute, device) == cudaSuccess,
               "CUDA does not tell device attribute ", static_cast<int>(attribute));
  return value;
}

template <class T, class S, class Grid, class Cut>
void launch(const QuantizedLinearParams& p, cudaStream_t stream) {
  const auto tiles = static_cast<unsigned>(ceil_divide(p.weight.rows, Cut::kRows));
  constexpr auto kThreads = static_cast<unsigned>(Cut::kWarps * kWarp);
  const int64_t input_bytes = SharedInput::bytes(p.tokens, p.weight.cols);
  const Divider units_per_group(static_cast<uint32_t>(p.weight.group_size / kLaneColumns));
  const auto partial_bytes =
      static_cast<int64_t>(sizeof(float)) * Cut::kWarps * Cut::kTokens * Cut::kRows;
  const int64_t most = device_attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin);
  if (input_bytes + partial_bytes <= most) {
    const auto kernel = quantized_linear_kernel<T, S, Grid, Cut, true>;
    const auto bytes = static_cast<int>(input_bytes);
    int blocks_at_once = 0;
    NIBBLE_CHECK(
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes) ==
                cudaSuccess &&
            cudaOccupancyMaxActiveBlocksPerMultiprocessor(
                &blocks_at_once, kernel, kThreads, static_cast<size_t>(bytes)) == cudaSuccess &&
            blocks_at_once > 0,
        "quantized_linear_kernel does not fit this GPU");
    const auto resident =
        static_cast<unsigned>(blocks_at_once * device_attribute(cudaDevAttrMultiProcessorCount));
    // As many tiles for every block as its busiest one has.
    const unsigned rounds = (tiles + resident - 1) / resident;
    kernel<<<(tiles + rounds - 1) / rounds, kThreads, static_cast<size_t>(bytes), stream>>>(
        p, units_per_group);
  } else {
    quantized_linear_kernel<T, S, Grid, Cut, false>
        <<<tiles, kThreads, 0, stream>>>(p, units_per_group);
  }
  check_launch("quantized_linear_kernel");
}

template <class T, class S, class Grid>
void launch(const QuantizedLinearParams& p, cudaStream_t stream) {
  if (p.tokens <= 8) return launch<T, S, Grid, Cut<1, 1, 8>>(p, stream);
  if (p.tokens <= 16) return launch<T, S, Grid, Cut<1, 2, 16>>(p, stream);
  if (p.tokens <= 32) return launch<T, S, Grid, Cut<2, 4, 8>>(p, stream);
  return launch<T, S, Grid, Cut<2, 8, 4>>(p, stream);
}

}  // namespace
}  // namespace cuda

bool can_run_quantized_linear(const QuantizedLinearParams& p) {
  const GroupedMatrix& m = p.weight;
  return m.grid != GridKind::kAsymmetricInt8 && m.dtype != DType::kFloat32 && m.rows > 0 &&
         m.cols > 0 && m.group_size % cuda::kLaneColumns == 0 && p.tokens >= 1 &&
         p.tokens <= cuda::kMostTokens && cuda::is_aligned(p.packed_codes, 16) &&
         cuda::is_aligned(p.input, 16);
}

void quantized_linear_cuda(const QuantizedLinearParams& params, CUstream_st* stream) {
  NIBBLE_CHECK(can_run_quantized_linear(params), "quantized_linear_cuda does not take ",
               params.tokens, " tokens, a weight [", params.weight.rows, ", ", params.weight.cols,
               "] in groups of ", params.weight.group_size);
  dispatch_grid(params.weight, [&](auto element, auto scale, auto grid) {
    using T = typename decltype(element)::type;
    using Grid = typename decltype(grid)::type;
    if constexpr (!std::is_same_v<T, float> && Grid::kMaxCode - Grid::kMinCode == 15.0f) {
      cuda::launch<T, typename decltype(scale)::type, Grid>(params, stream);
    }
  });
}

}  // namespace nibble::kernels
