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
/// Input that every block can read for a single tile of the weight.
constexpr int64_t kCheapInputBytes = 12288;

/// Adds the products of one chunk: rows of the weight's tiles by all tokens.
template <class T, class S, class Grid, class Cut, class Input>
__device__ __forceinline__ void add_chunk(const WeightChunk<S, Cut::kRowTiles>& weight,
                                          const Input& input, uint32_t chunk,
                                          float (&sums)[Cut::kRowTiles][Cut::kTokenTiles][4]) {
  const uint32_t g = threadIdx.x % kWarp / 4, t = threadIdx.x % 4;
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
  const uint4* lanes[Cut::kTokenTiles];
#pragma unroll
  for (int tokens = 0; tokens < Cut::kTokenTiles; ++tokens) {
    lanes[tokens] = input.lane(tokens * kTileTokens + g, chunk, t);
  }
#pragma unroll
  for (int octet = 0; octet < kLaneColumns / kOctet; ++octet) {
    uint4 x[Cut::kTokenTiles];
#pragma unroll
    for (int tokens = 0; tokens < Cut::kTokenTiles; ++tokens) {
      x[tokens] = Input::octet(lanes[tokens], octet);
    }
#pragma unroll
    for (int tile = 0; tile < Cut::kRowTiles; ++tile) {
      uint32_t w[4][2];
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const uint32_t codes = word(weight.codes[tile][half], octet);
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          w[i][half] = value_pair<T, S>(grids[tile][half], codes >> (4 * i));
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

/// What a warp has summed. Padded: its lanes write to different banks.
template <class Cut>
struct Partial {
  float sums[Cut::kTokens][Cut::kRows + 4];
};

/// Adds the warps' sums in their order and stores them. `partial` is the block's.
template <class T, class Cut>
__device__ __forceinline__ void store_sums(const float (&sums)[Cut::kRowTiles][Cut::kTokenTiles][4],
                                           Partial<Cut>* partial, const QuantizedLinearParams& p,
                                           uint32_t block_row) {
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
        if (token < p.tokens) partial[warp].sums[token][row] = sums[tile][tokens][i];
      }
    }
  }
  __syncthreads();
  const int count = static_cast<int>(p.tokens) * Cut::kRows;
  for (int i = static_cast<int>(threadIdx.x); i < count; i += Cut::kWarps * kWarp) {
    const int token = i / Cut::kRows, row = i % Cut::kRows;
    if (block_row + row >= p.weight.rows) continue;
    float sum = partial[0].sums[token][row];
#pragma unroll
    for (int from = 1; from < Cut::kWarps; ++from) {
      sum = numerics::add(sum, partial[from].sums[token][row]);
    }
    static_cast<T*>(p.output)[token * p.weight.rows + block_row + row] = T(sum);
  }
  __syncthreads();
}

/// A block goes through the row tiles blockIdx.x, blockIdx.x + gridDim.x, ...; the weight's next
/// chunks are always under way, over the border of a tile too.
template <class T, class S, class Grid, class Cut, bool input_is_shared>
__global__ void __launch_bounds__(Cut::kWarps* kWarp)
    quantized_linear_kernel(QuantizedLinearParams p, Divider units_per_group) {
  __shared__ Partial<Cut> partial[Cut::kWarps];
  extern __shared__ uint4 shared_octets[];
  const uint32_t warp = threadIdx.x / kWarp;
  const uint32_t g = threadIdx.x % kWarp / 4, t = threadIdx.x % 4;
  const auto rows = static_cast<uint32_t>(p.weight.rows),
             cols = static_cast<uint32_t>(p.weight.cols);
  const uint32_t units = cols / kLaneColumns, chunks = (units + 3) / 4;
  // The chunks warp, warp + kWarps, ... of a tile are this warp's, rounded up to rounds of kAhead.
  constexpr uint32_t kRound = Cut::kAhead * Cut::kWarps;
  const uint32_t padded_chunks = (chunks + kRound - 1) / kRound * kRound;
  const uint32_t row_step = gridDim.x * Cut::kRows;

  WeightReader<S, Grid, Cut> weight(p, units_per_group);
  uint32_t row = blockIdx.x * Cut::kRows;
  uint32_t next_row = row, next_chunk = warp;
  weight.go_to(next_row + g);
  WeightChunk<S, Cut::kRowTiles> under_way[Cut::kAhead];
  const auto fetch = [&](WeightChunk<S, Cut::kRowTiles>& chunk) {
    // Lanes beyond a short last chunk read the first columns, and zeros of the input.
    const uint32_t unit = next_chunk * 4 + t;
    if (next_chunk < chunks && next_row < rows) chunk = weight.read(unit < units ? unit : 0);
    next_chunk += Cut::kWarps;
    if (next_chunk < padded_chunks) return;
    next_chunk = warp;
    next_row += row_step;
    weight.go_to(next_row + g);
  };
#pragma unroll
  for (int slot = 0; slot < Cut::kAhead; ++slot) fetch(under_way[slot]);

  using Input = std::conditional_t<input_is_shared, SharedInput, GlobalInput>;
  const auto tokens = static_cast<uint32_t>(p.tokens);
  const Input input = [&] {
    if constexpr (input_is_shared) {
      const SharedInput shared(shared_octets, tokens, cols);
      shared.fill(p.input);
      __syncthreads();
      return shared;
    } else {
      return GlobalInput(p.input, tokens, cols);
    }
  }();
  for (; row < rows; row += row_step) {
    float sums[Cut::kRowTiles][Cut::kTokenTiles][4] = {};
    for (uint32_t first = warp; first < padded_chunks; first += kRound) {
#pragma unroll
      for (int slot = 0; slot < Cut::kAhead; ++slot) {
        const uint32_t chunk = first + slot * Cut::kWarps;
        if (chunk < chunks) add_chunk<T, S, Grid, Cut>(under_way[slot], input, chunk, sums);
        fetch(under_way[slot]);
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
  const auto partial_bytes = static_cast<int64_t>(sizeof(Partial<Cut>)) * Cut::kWarps;
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
    // As many tiles for every block as its busiest one has; where each can afford to read the whole
    // input for one tile, the hardware deals them out better.
    const unsigned rounds = (tiles + resident - 1) / resident;
    const unsigned blocks = input_bytes <= kCheapInputBytes ? tiles : (tiles + rounds - 1) / rounds;
    kernel<<<blocks, kThreads, static_cast<size_t>(bytes), stream>>>(p, units_per_group);
  } else {
    quantized_linear_kernel<T, S, Grid, Cut, false>
        <<<tiles, kThreads, 0, stream>>>(p, units_per_group);
  }
  check_launch("quantized_linear_kernel");
}

template <class T, class S, class Grid>
void launch(const QuantizedLinearParams& p, cudaStream_t stream) {
  if (p.tokens <= 8) return launch<T, S, Grid, Cut<1, 1, 8, 2>>(p, stream);
  if (p.tokens <= 16) return launch<T, S, Grid, Cut<1, 2, 16, 1>>(p, stream);
  if (p.tokens <= 32) return launch<T, S, Grid, Cut<2, 4, 8, 1>>(p, stream);
  return launch<T, S, Grid, Cut<2, 8, 4, 1>>(p, stream);
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
