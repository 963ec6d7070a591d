#include "device/int4_token_tiles.cuh"
#include "launch.h"
#include "quantized_linear_tiles.h"

namespace nibble::kernels::cuda {
namespace {

/// Input that every block can read for a single tile of the weight.
constexpr int64_t kCheapInputBytes = 12288;

/// Adds the products of one chunk: rows of the weight's tiles by all tokens.
template <class T, class S, class Grid, class TokenCut, class Input>
__device__ __forceinline__ void add_chunk(
    const WeightTile<S, TokenCut::kRowTiles>& weight, const Input& input, uint32_t chunk,
    float (&sums)[TokenCut::kRowTiles][TokenCut::kTokenTiles][4]) {
  const uint32_t g = threadIdx.x % kWarp / 4, t = threadIdx.x % 4;
  Grid grids[TokenCut::kRowTiles][2];
#pragma unroll
  for (int tile = 0; tile < TokenCut::kRowTiles; ++tile) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float zero = Grid::kIsSymmetric ? 0.0f : static_cast<float>(weight.zeros[tile][half]);
      grids[tile][half] =
          restore_grid(Tag<Grid>{}, static_cast<float>(weight.scales[tile][half]), zero);
    }
  }
  const uint4* lanes[TokenCut::kTokenTiles];
#pragma unroll
  for (int tokens = 0; tokens < TokenCut::kTokenTiles; ++tokens) {
    lanes[tokens] = input.lane(tokens * kTileTokens + g, chunk, t);
  }
#pragma unroll
  for (int octet = 0; octet < kUnit / kOctet; ++octet) {
    uint4 x[TokenCut::kTokenTiles];
#pragma unroll
    for (int tokens = 0; tokens < TokenCut::kTokenTiles; ++tokens) {
      x[tokens] = Input::octet(lanes[tokens], octet);
    }
#pragma unroll
    for (int tile = 0; tile < TokenCut::kRowTiles; ++tile) {
      uint32_t w[4][2];
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const uint32_t codes = word(weight.codes[tile][half], octet);
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          w[i][half] = value_pair<T, S>(grids[tile][half], codes, i);
        }
      }
#pragma unroll
      for (int tokens = 0; tokens < TokenCut::kTokenTiles; ++tokens) {
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
template <class TokenCut>
struct Partial {
  float sums[TokenCut::kTokens][TokenCut::kRows + 4];
};

/// Adds the warps' sums in their order and stores them. `partial` is the block's.
template <class T, class TokenCut>
__device__ __forceinline__ void store_sums(
    const float (&sums)[TokenCut::kRowTiles][TokenCut::kTokenTiles][4], Partial<TokenCut>* partial,
    const QuantizedLinearParams& p, uint32_t block_row) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int g = lane / 4, t = lane % 4;
#pragma unroll
  for (int tile = 0; tile < TokenCut::kRowTiles; ++tile) {
#pragma unroll
    for (int tokens = 0; tokens < TokenCut::kTokenTiles; ++tokens) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int row = tile * kTileRows + g + (i / 2) * 8;
        const int token = tokens * kTileTokens + 2 * t + i % 2;
        if (token < p.tokens) partial[warp].sums[token][row] = sums[tile][tokens][i];
      }
    }
  }
  __syncthreads();
  const int count = static_cast<int>(p.tokens) * TokenCut::kRows;
  for (int i = static_cast<int>(threadIdx.x); i < count; i += TokenCut::kWarps * kWarp) {
    const int token = i / TokenCut::kRows, row = i % TokenCut::kRows;
    if (block_row + row >= p.weight.rows) continue;
    float sum = partial[0].sums[token][row];
#pragma unroll
    for (int from = 1; from < TokenCut::kWarps; ++from) {
      sum = numerics::add(sum, partial[from].sums[token][row]);
    }
    static_cast<T*>(p.output)[token * p.weight.rows + block_row + row] = T(sum);
  }
  __syncthreads();
}

/// A block goes through the row tiles blockIdx.x, blockIdx.x + gridDim.x, ...; the weight's next
/// chunks are always under way, over the border of a tile too.
template <class T, class S, class Grid, class TokenCut, bool input_is_shared>
__global__ void __launch_bounds__(TokenCut::kWarps* kWarp)
    quantized_linear_tiles_kernel(QuantizedLinearParams p, Divider units_per_group) {
  __shared__ Partial<TokenCut> partial[TokenCut::kWarps];
  extern __shared__ uint4 shared_octets[];
  const uint32_t warp = threadIdx.x / kWarp;
  const uint32_t g = threadIdx.x % kWarp / 4, t = threadIdx.x % 4;
  const auto rows = static_cast<uint32_t>(p.weight.rows),
             cols = static_cast<uint32_t>(p.weight.cols);
  const uint32_t units = cols / kUnit, chunks = (units + 3) / 4;
  // The chunks warp, warp + kWarps, ... of a tile are this warp's, rounded up to rounds of kAhead.
  constexpr uint32_t kRound = TokenCut::kAhead * TokenCut::kWarps;
  const uint32_t padded_chunks = (chunks + kRound - 1) / kRound * kRound;
  const uint32_t row_step = gridDim.x * TokenCut::kRows;

  WeightTileReader<S, Grid, TokenCut> weight(p, units_per_group);
  uint32_t row = blockIdx.x * TokenCut::kRows;
  uint32_t next_row = row, next_chunk = warp;
  weight.go_to(next_row + g);
  WeightTile<S, TokenCut::kRowTiles> under_way[TokenCut::kAhead];
  const auto fetch = [&](WeightTile<S, TokenCut::kRowTiles>& chunk) {
    // Lanes beyond a short last chunk read the first columns, and zeros of the input.
    const uint32_t unit = next_chunk * 4 + t;
    if (next_chunk < chunks && next_row < rows) chunk = weight.read(unit < units ? unit : 0);
    next_chunk += TokenCut::kWarps;
    if (next_chunk < padded_chunks) return;
    next_chunk = warp;
    next_row += row_step;
    weight.go_to(next_row + g);
  };
#pragma unroll
  for (int slot = 0; slot < TokenCut::kAhead; ++slot) fetch(under_way[slot]);

  using Input = std::conditional_t<input_is_shared, SharedTokens, GlobalTokens>;
  const auto tokens = static_cast<uint32_t>(p.tokens);
  const Input input = [&] {
    if constexpr (input_is_shared) {
      const SharedTokens shared(shared_octets, tokens, cols);
      shared.fill(p.input);
      __syncthreads();
      return shared;
    } else {
      return GlobalTokens(p.input, tokens, cols);
    }
  }();
  for (; row < rows; row += row_step) {
    float sums[TokenCut::kRowTiles][TokenCut::kTokenTiles][4] = {};
    for (uint32_t first = warp; first < padded_chunks; first += kRound) {
#pragma unroll
      for (int slot = 0; slot < TokenCut::kAhead; ++slot) {
        const uint32_t chunk = first + slot * TokenCut::kWarps;
        if (chunk < chunks) add_chunk<T, S, Grid, TokenCut>(under_way[slot], input, chunk, sums);
        fetch(under_way[slot]);
      }
    }
    store_sums<T, TokenCut>(sums, partial, p, row);
  }
}

template <class T, class S, class Grid, class TokenCut>
void launch(const QuantizedLinearParams& p, cudaStream_t stream) {
  const auto tiles = static_cast<unsigned>(ceil_divide(p.weight.rows, TokenCut::kRows));
  constexpr auto kThreads = static_cast<unsigned>(TokenCut::kWarps * kWarp);
  const int64_t input_bytes = SharedTokens::bytes(p.tokens, p.weight.cols);
  const Divider units_per_group(static_cast<uint32_t>(p.weight.group_size / kUnit));
  const auto partial_bytes = static_cast<int64_t>(sizeof(Partial<TokenCut>)) * TokenCut::kWarps;
  const int64_t most = device_attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin);
  if (input_bytes + partial_bytes <= most) {
    const auto kernel = quantized_linear_tiles_kernel<T, S, Grid, TokenCut, true>;
    const auto bytes = static_cast<int>(input_bytes);
    int blocks_at_once = 0;
    NIBBLE_CHECK(
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes) ==
                cudaSuccess &&
            cudaOccupancyMaxActiveBlocksPerMultiprocessor(
                &blocks_at_once, kernel, kThreads, static_cast<size_t>(bytes)) == cudaSuccess &&
            blocks_at_once > 0,
        "quantized_linear_tiles_kernel does not fit this GPU");
    const auto resident =
        static_cast<unsigned>(blocks_at_once * device_attribute(cudaDevAttrMultiProcessorCount));
    // As many tiles for every block as its busiest one has; where each can afford to read the whole
    // input for one tile, the hardware deals them out better.
    const unsigned rounds = (tiles + resident - 1) / resident;
    const unsigned blocks = input_bytes <= kCheapInputBytes ? tiles : (tiles + rounds - 1) / rounds;
    kernel<<<blocks, kThreads, static_cast<size_t>(bytes), stream>>>(p, units_per_group);
  } else {
    quantized_linear_tiles_kernel<T, S, Grid, TokenCut, false>
        <<<tiles, kThreads, 0, stream>>>(p, units_per_group);
  }
  check_launch("quantized_linear_tiles_kernel");
}

template <class T, class S, class Grid>
void launch(const QuantizedLinearParams& p, cudaStream_t stream) {
  if (p.tokens <= 16) return launch<T, S, Grid, TokenCut<1, 2, 16, 1>>(p, stream);
  if (p.tokens <= 32) return launch<T, S, Grid, TokenCut<2, 4, 8, 1>>(p, stream);
  return launch<T, S, Grid, TokenCut<2, 8, 4, 1>>(p, stream);
}

}  // namespace

void quantized_linear_tiles(const QuantizedLinearParams& params, cudaStream_t stream) {
  dispatch_grid(params.weight, [&](auto element, auto scale, auto grid) {
    using T = typename decltype(element)::type;
    using Grid = typename decltype(grid)::type;
    if constexpr (!std::is_same_v<T, float> && Grid::kMaxCode - Grid::kMinCode == 15.0f) {
      launch<T, typename decltype(scale)::type, Grid>(params, stream);
    }
  });
}

}  // namespace nibble::kernels::cuda
