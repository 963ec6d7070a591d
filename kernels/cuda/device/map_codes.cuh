#pragma once

#include "../../grid_dispatch.h"
#include "octet.cuh"

/// Element-wise kernels under stored parameters: backward and dequantization. Map is a type with
///   using Source, Target                                          element types read and written
///   static float apply(grid, float value, bool in_range)          result, then rounded to Target
namespace nibble::kernels::cuda {

/// What both read and write. Null `zeros` and `in_range` read as 0.
template <class Source>
struct MapParams {
  GroupedMatrix matrix;
  const Source* source;     ///< [rows, cols]
  const void* scales;       ///< [rows, cols / group_size], S
  const void* zeros;        ///< the same
  const uint8_t* in_range;  ///< [rows, mask_row_bytes(cols)]
  void* target;             ///< [rows, cols], Target
};

template <class S, class Grid, class Source>
__device__ inline Grid stored_grid(const MapParams<Source>& p, int64_t group) {
  const float scale = static_cast<float>(static_cast<const S*>(p.scales)[group]);
  const float zero =
      p.zeros == nullptr ? 0.0f : static_cast<float>(static_cast<const S*>(p.zeros)[group]);
  return restore_grid(Tag<Grid>{}, scale, zero);
}

constexpr int kMapThreads = 256;
constexpr int kMapOctets = 2;  ///< a thread

/// Groups that are a multiple of 8 long, 16-byte aligned buffers.
template <class S, class Grid, class Map>
__global__ void __launch_bounds__(kMapThreads)
    map_octets_kernel(MapParams<typename Map::Source> p, uint32_t octets,
                      uint32_t octets_per_group) {
  const uint32_t block_first = blockIdx.x * (kMapThreads * kMapOctets) + threadIdx.x;
  Octet values[kMapOctets];
  uint32_t bits[kMapOctets];
#pragma unroll
  for (int j = 0; j < kMapOctets; ++j) {
    const uint32_t octet = block_first + j * kMapThreads;
    if (octet >= octets) break;
    load(p.source + int64_t{octet} * kOctet, values[j]);
    bits[j] = p.in_range == nullptr ? 0 : p.in_range[octet];
  }
#pragma unroll
  for (int j = 0; j < kMapOctets; ++j) {
    const uint32_t octet = block_first + j * kMapThreads;
    if (octet >= octets) break;
    const Grid grid = stored_grid<S, Grid>(p, octet / octets_per_group);
#pragma unroll
    for (int i = 0; i < kOctet; ++i) {
      values[j].values[i] = Map::apply(grid, values[j].values[i], (bits[j] >> i & 1u) != 0);
    }
    store(values[j], static_cast<typename Map::Target*>(p.target) + int64_t{octet} * kOctet);
  }
}

/// Any shape and alignment: a thread takes the columns of one byte of in-range bits.
template <class S, class Grid, class Map>
__global__ void __launch_bounds__(kMapThreads)
    map_any_shape_kernel(MapParams<typename Map::Source> p) {
  using Target = typename Map::Target;
  const GroupedMatrix& m = p.matrix;
  const int64_t groups_per_row = m.cols / m.group_size;
  const int64_t row_bytes = mask_row_bytes(m.cols);
  const int64_t byte = int64_t{blockIdx.x} * kMapThreads + threadIdx.x;
  if (byte >= m.rows * row_bytes) return;
  const int64_t row = byte / row_bytes;
  const int64_t first_col = (byte - row * row_bytes) * 8;
  const uint32_t bits = p.in_range == nullptr ? 0 : p.in_range[byte];
  for (int i = 0; i < 8 && first_col + i < m.cols; ++i) {
    const int64_t col = first_col + i;
    const Grid grid = stored_grid<S, Grid>(p, row * groups_per_row + col / m.group_size);
    const int64_t at = row * m.cols + col;
    static_cast<Target*>(p.target)[at] =
        Target(Map::apply(grid, static_cast<float>(p.source[at]), (bits >> i & 1u) != 0));
  }
}

}  // namespace nibble::kernels::cuda
