#include <nibble/kernels/fake_quant_cuda.h>
#include <nibble/numerics/pack_int4.h>

#include "../grid_dispatch.h"
#include "device/chunk.cuh"
#include "device/extremes.cuh"
#include "device/lane_masks.cuh"
#include "launch.h"

namespace nibble::kernels {
namespace cuda {
namespace {

constexpr int kSharedBlock = 256;    ///< threads of a block that holds several groups
constexpr int kLargestBlock = 1024;  ///< threads of a block that is one group
// Octets that a thread keeps in registers, the fastest found on an H200: two make the most threads
// for the groups of weights, four leave fewer to wait for each other in the rows of activations.
constexpr int kFewOctets = 2;
constexpr int kManyOctets = 4;

/// Groups in registers: `threads` of them share a group, `kOctets` octets each. Up to a warp,
/// `threads` is a power of two and a block holds several groups; above, a group is a block.
/// Everything is a multiple of 8 long and aligned (see can_use_octets).
template <class D, class S, class Grid, int kOctets>
__global__ void __launch_bounds__(kOctets == kFewOctets ? kSharedBlock : kLargestBlock)
    fake_quantize_octets_kernel(FakeQuantParams p, uint32_t groups, uint32_t groups_per_row,
                                uint32_t threads) {
  const bool block_per_group = threads > kWarp;
  const int threads_log2 = 31 - __clz(static_cast<int>(threads));
  const uint32_t group =
      block_per_group ? blockIdx.x : (blockIdx.x * blockDim.x + threadIdx.x) >> threads_log2;
  const uint32_t lane = block_per_group ? threadIdx.x : threadIdx.x & (threads - 1);
  const int64_t size = p.matrix.group_size;
  const uint32_t octets = group < groups ? static_cast<uint32_t>(size / kOctet) : 0;
  const int64_t first = group * size;
  const int64_t padding = p.input_row_stride - p.matrix.cols;
  const int64_t skipped = padding == 0 ? 0 : group / groups_per_row * padding;
  const D* input = static_cast<const D*>(p.input) + first + skipped;

  using Storage = typename Lanes<D, S>::Storage;
  using Math = typename Lanes<D, S>::Math;
  Octet<Storage> values[kOctets];
  int count = 0;
#pragma unroll
  for (int j = 0; j < kOctets; ++j) {
    const uint32_t octet = lane + j * threads;
    if (octet >= octets) break;
    load(input + octet * kOctet, values[j]);
    count = j + 1;
  }
  auto extremes = extremes_of(values, count);
  extremes =
      block_per_group ? reduce_block(extremes) : reduce_lanes(extremes, static_cast<int>(threads));
  const Grid grid = Grid::choose(extremes.lowest(), extremes.highest());
  if (lane == 0 && group < groups) {
    if (p.scales != nullptr) static_cast<S*>(p.scales)[group] = S(grid.scale);
    if (p.zeros != nullptr) static_cast<S*>(p.zeros)[group] = S(grid.zero());
  }

#pragma unroll
  for (int j = 0; j < kOctets; ++j) {
    const uint32_t octet = lane + j * threads;
    if (octet >= octets) break;
    const int64_t at = first + octet * kOctet;
    Octet<Storage> codes;
    MaskWriter<Storage> in_range;
#pragma unroll
    for (int i = 0; i < Octet<Storage>::kSize; ++i) {
      const auto quantized = numerics::quantize(grid, Math(values[j].lanes[i]));
      codes.lanes[i] = quantized.code;
      in_range.set(i, quantized.in_range);
      values[j].lanes[i] = grid.dequantize(quantized.code);
    }
    if (p.output != nullptr) store(values[j], p.output_dtype, p.output, at);
    if (p.codes != nullptr) store(codes, p.codes + at);
    if (p.packed_codes != nullptr) {
      store_nibbles(codes, static_cast<int>(Grid::kMinCode), p.packed_codes + at / 2);
    }
    if (p.in_range != nullptr) p.in_range[at / 8] = in_range.byte();
  }
}

constexpr int kGroupsPerBlock = 8;
constexpr int kThreadsAnyShape = 256;

/// Any group size, alignment and row stride. A block takes up to eight consecutive groups of a row:
/// together they begin at a whole byte of in-range bits, so no two threads share one.
template <class D, class S, class Grid>
__global__ void __launch_bounds__(kThreadsAnyShape)
    fake_quantize_any_shape_kernel(FakeQuantParams p, uint32_t blocks_per_row) {
  constexpr int kWarps = kThreadsAnyShape / kWarp;
  __shared__ FloatExtremes of_warp[kWarps];
  __shared__ Grid grids[kGroupsPerBlock];
  const int64_t size = p.matrix.group_size;
  const int64_t groups_per_row = p.matrix.cols / size;
  const int64_t row = blockIdx.x / blocks_per_row;
  const int64_t first_group = int64_t{blockIdx.x % blocks_per_row} * kGroupsPerBlock;
  const int64_t rest = groups_per_row - first_group;
  const int groups = static_cast<int>(rest < kGroupsPerBlock ? rest : kGroupsPerBlock);
  const D* input = static_cast<const D*>(p.input) + row * p.input_row_stride + first_group * size;

  // A group's extremes by as many whole warps as there are for each.
  const int warps_per_group = kWarps / groups;
  const int thread = static_cast<int>(threadIdx.x);
  const int group = thread / kWarp / warps_per_group;
  const int part = thread - group * warps_per_group * kWarp;
  FloatExtremes extremes = FloatExtremes::of_nothing();
  if (group < groups) {
    for (int64_t i = part; i < size; i += warps_per_group * kWarp) {
      extremes.add(static_cast<float>(input[group * size + i]));
    }
  }
  extremes = reduce_lanes(extremes, kWarp);
  if (thread % kWarp == 0) of_warp[thread / kWarp] = extremes;
  __syncthreads();
  if (thread < groups) {
    FloatExtremes whole = FloatExtremes::of_nothing();
    for (int i = 0; i < warps_per_group; ++i) whole.merge(of_warp[thread * warps_per_group + i]);
    const Grid grid = Grid::choose(whole.lowest(), whole.highest());
    const int64_t index = row * groups_per_row + first_group + thread;
    if (p.scales != nullptr) static_cast<S*>(p.scales)[index] = S(grid.scale);
    if (p.zeros != nullptr) static_cast<S*>(p.zeros)[index] = S(grid.zero());
    grids[thread] = grid;
  }
  __syncthreads();

  const int64_t cols = groups * size;
  const int64_t first = row * p.matrix.cols + first_group * size;
  uint8_t* row_bits = p.in_range == nullptr ? nullptr
                                            : p.in_range + row * mask_row_bytes(p.matrix.cols) +
                                                  first_group * size / 8;
  uint8_t* packed_row = offset(p.packed_codes, row * numerics::packed_row_bytes(p.matrix.cols));
  for (int64_t byte = thread; byte < mask_row_bytes(cols); byte += kThreadsAnyShape) {
    uint32_t bits = 0;
    for (int i = 0; i < 8; ++i) {
      const int64_t col = byte * 8 + i;
      if (col >= cols) break;
      const Grid& grid = grids[col / size];
      const auto quantized = numerics::quantize(grid, static_cast<float>(input[col]));
      bits |= static_cast<uint32_t>(quantized.in_range) << i;
      if (p.output != nullptr) {
        store(grid.dequantize(quantized.code), p.output_dtype, p.output, first + col);
      }
      if (p.codes != nullptr) {
        p.codes[first + col] = static_cast<int8_t>(code_to_int(quantized.code));
      }
      if (packed_row != nullptr) {
        numerics::set_nibble(packed_row, first_group * size + col,
                             code_to_int(quantized.code) - static_cast<int>(Grid::kMinCode));
      }
    }
    if (row_bits != nullptr) row_bits[byte] = static_cast<uint8_t>(bits);
  }
}

bool can_use_octets(const FakeQuantParams& p) {
  const auto& m = p.matrix;
  return m.group_size % kOctet == 0 && m.group_size <= kLargestBlock * kManyOctets * kOctet &&
         is_aligned(p.input, 16) && p.input_row_stride * bytes_of(m.dtype) % 16 == 0 &&
         is_aligned(p.output, 16) && is_aligned(p.codes, 8) && is_aligned(p.packed_codes, 4);
}

/// The rows from `first` on.
FakeQuantParams rows_from(FakeQuantParams p, int64_t first, int64_t rows) {
  const auto& m = p.matrix;
  const int64_t groups = first * (m.cols / m.group_size);
  p.input = offset_elements(p.input, m.dtype, first * p.input_row_stride);
  p.output = offset_elements(p.output, p.output_dtype, first * m.cols);
  p.scales = offset_elements(p.scales, m.scale_dtype, groups);
  p.zeros = offset_elements(p.zeros, m.scale_dtype, groups);
  p.codes = offset(p.codes, first * m.cols);
  p.packed_codes = offset(p.packed_codes, first * numerics::packed_row_bytes(m.cols));
  p.in_range = offset(p.in_range, first * mask_row_bytes(m.cols));
  p.matrix.rows = rows;
  return p;
}

/// Threads that share a group: a power of two within a warp, else whole warps.
int64_t threads_for(int64_t octets, int64_t octets_per_thread) {
  const int64_t needed = ceil_divide(octets, octets_per_thread);
  if (needed > kWarp) return ceil_divide(needed, kWarp) * kWarp;
  int64_t threads = 1;
  while (threads < needed) threads *= 2;
  return threads;
}

template <class D, class S, class Grid>
void launch_octets(const FakeQuantParams& params, cudaStream_t stream) {
  const auto& m = params.matrix;
  const int64_t groups_per_row = m.cols / m.group_size;
  const int64_t octets = m.group_size / kOctet;
  const bool few = octets <= kFewOctets * kWarp;
  const int64_t threads = threads_for(octets, few ? kFewOctets : kManyOctets);
  const int64_t block = threads > kWarp ? threads : kSharedBlock;
  for_each_piece(m.rows, groups_per_row * threads, [&](int64_t first, int64_t rows) {
    const FakeQuantParams p = rows_from(params, first, rows);
    const int64_t groups = rows * groups_per_row;
    const auto blocks = static_cast<unsigned>(ceil_divide(groups * threads, block));
    const auto kernel = few ? fake_quantize_octets_kernel<D, S, Grid, kFewOctets>
                            : fake_quantize_octets_kernel<D, S, Grid, kManyOctets>;
    kernel<<<blocks, static_cast<unsigned>(block), 0, stream>>>(
        p, static_cast<uint32_t>(groups), static_cast<uint32_t>(groups_per_row),
        static_cast<uint32_t>(threads));
    check_launch("fake_quantize_octets_kernel");
  });
}

template <class D, class S, class Grid>
void launch_any_shape(const FakeQuantParams& params, cudaStream_t stream) {
  const auto& m = params.matrix;
  const int64_t blocks_per_row = ceil_divide(m.cols / m.group_size, kGroupsPerBlock);
  for_each_piece(m.rows, blocks_per_row, [&](int64_t first, int64_t rows) {
    fake_quantize_any_shape_kernel<D, S, Grid>
        <<<static_cast<unsigned>(rows * blocks_per_row), kThreadsAnyShape, 0, stream>>>(
            rows_from(params, first, rows), static_cast<uint32_t>(blocks_per_row));
    check_launch("fake_quantize_any_shape_kernel");
  });
}

}  // namespace
}  // namespace cuda

void fake_quantize_cuda(const FakeQuantParams& params, CUstream_st* stream) {
  check_packing(params.matrix, params.packed_codes);
  dispatch_grid(params.matrix, [&](auto element, auto scale, auto grid) {
    using D = typename decltype(element)::type;
    using S = typename decltype(scale)::type;
    using Grid = typename decltype(grid)::type;
    if (cuda::can_use_octets(params)) {
      cuda::launch_octets<D, S, Grid>(params, stream);
    } else {
      cuda::launch_any_shape<D, S, Grid>(params, stream);
    }
  });
}

}  // namespace nibble::kernels
