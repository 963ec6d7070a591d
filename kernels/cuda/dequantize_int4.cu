#include "../grid_dispatch.h"
#include "dequantize_int4.h"
#include "device/int4_products.cuh"
#include "device/overlap.cuh"
#include "launch.h"

namespace nibble::kernels::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kOctetsEach = 4;  ///< under way at once

struct Octets {
  const uint32_t* codes;
  const void* scales;
  const void* zeros;
  uint4* values;
  uint32_t count;
  Divider octets_per_group;
};

/// The values of consecutive columns whose codes are the nibbles of `codes`, with the bits of
/// dequantize_cuda().
template <class T, class S, class Grid>
__device__ __forceinline__ uint4 octet_values(const Grid& grid, uint32_t codes) {
  // Byte i holds columns 2 i and 2 i + 1: it goes to the lower half, shifted to the upper one.
  const uint32_t odd = codes >> 4;
  return make_uint4(value_pair<T, S>(grid, __byte_perm(codes, odd, 0x4400)),
                    value_pair<T, S>(grid, __byte_perm(codes, odd, 0x5511)),
                    value_pair<T, S>(grid, __byte_perm(codes, odd, 0x6622)),
                    value_pair<T, S>(grid, __byte_perm(codes, odd, 0x7733)));
}

/// The grid of group `group` of all groups of a weight. On a symmetric grid `zeros` is not read.
template <class S, class Grid>
__device__ __forceinline__ Grid grid_of_group(const void* scales, const void* zeros,
                                              uint32_t group) {
  const float scale = static_cast<float>(static_cast<const S*>(scales)[group]);
  const float zero =
      Grid::kIsSymmetric ? 0.0f : static_cast<float>(static_cast<const S*>(zeros)[group]);
  return restore_grid(Tag<Grid>{}, scale, zero);
}

/// A warp reads 128 and writes 512 consecutive bytes at once.
template <class T, class S, class Grid>
__global__ void __launch_bounds__(kThreads) dequantize_int4_kernel(Octets p) {
  let_next_begin();
  wait_for_previous();
  const uint32_t first = blockIdx.x * (kThreads * kOctetsEach) + threadIdx.x;
  uint32_t codes[kOctetsEach];
#pragma unroll
  for (int i = 0; i < kOctetsEach; ++i) {
    const uint32_t octet = first + i * kThreads;
    if (octet < p.count) codes[i] = p.codes[octet];
  }
#pragma unroll
  for (int i = 0; i < kOctetsEach; ++i) {
    const uint32_t octet = first + i * kThreads;
    if (octet >= p.count) break;
    const Grid grid = grid_of_group<S, Grid>(p.scales, p.zeros, p.octets_per_group.quotient(octet));
    p.values[octet] = octet_values<T, S>(grid, codes[i]);
  }
}

template <class T, class S, class Grid>
void launch(const DequantizeParams& params, cudaStream_t stream) {
  const GroupedMatrix& m = params.matrix;
  for_each_piece(m.rows, m.cols / kOctet, [&](int64_t first, int64_t rows) {
    const int64_t groups = first * (m.cols / m.group_size), octets = rows * (m.cols / kOctet);
    const Octets p = {
        reinterpret_cast<const uint32_t*>(params.packed_codes) + first * (m.cols / kOctet),
        offset_elements(params.scales, m.scale_dtype, groups),
        offset_elements(params.zeros, m.scale_dtype, groups),
        static_cast<uint4*>(params.output) + first * (m.cols / kOctet),
        static_cast<uint32_t>(octets),
        Divider(static_cast<uint32_t>(m.group_size / kOctet))};
    const auto blocks = static_cast<unsigned>(ceil_divide(octets, kThreads * kOctetsEach));
    launch_overlapping("dequantize_int4_kernel", dequantize_int4_kernel<T, S, Grid>,
                       {blocks, kThreads}, stream, p);
  });
}

}  // namespace

bool can_dequantize_int4(const DequantizeParams& p) {
  const GroupedMatrix& m = p.matrix;
  return p.packed_codes != nullptr && m.dtype != DType::kFloat32 &&
         p.output_dtype.value_or(m.dtype) == m.dtype && m.group_size % kOctet == 0 &&
         is_aligned(p.packed_codes, 4) && is_aligned(p.output, 16);
}

void dequantize_int4(const DequantizeParams& params, cudaStream_t stream) {
  dispatch_16_bit_int4(params.matrix, [&](auto element, auto scale, auto grid) {
    launch<typename decltype(element)::type, typename decltype(scale)::type,
           typename decltype(grid)::type>(params, stream);
  });
}

}  // namespace nibble::kernels::cuda
