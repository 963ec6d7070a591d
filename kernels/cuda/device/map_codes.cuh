#pragma once

#include <nibble/numerics/pack_int4.h>

#include <type_traits>

#include "../../grid_dispatch.h"
#include "../divider.h"
#include "lane_masks.cuh"

/// Element-wise kernels under stored parameters: backward and dequantization. Map is a type with
///   using Source, Target               element types read and written
///   using Storage, Math                lanes of the kernel in chunks, see Lanes
///   static apply(grid, value, mask)    lanes of Math and their mask; exact in Storage
namespace nibble::kernels::cuda {

/// Two codes of a packed row (numerics/pack_int4.h), read as 0..15.
struct PackedInt4 {
  uint8_t pair;
};

/// Where row `row` of a [rows, cols] source begins.
template <class Source>
__host__ __device__ inline const Source* row_of(const Source* base, int64_t row, int64_t cols) {
  return base + row * cols;
}
__host__ __device__ inline const PackedInt4* row_of(const PackedInt4* base, int64_t row,
                                                    int64_t cols) {
  return base + row * numerics::packed_row_bytes(cols);
}

template <class Source>
__device__ inline float value_at(const Source* row, int64_t col) {
  return static_cast<float>(row[col]);
}
__device__ inline float value_at(const PackedInt4* row, int64_t col) {
  return static_cast<float>(numerics::nibble_at(&row->pair, col));
}

/// The chunk that begins `index` elements, a multiple of its size, after `base`.
template <class Source, class Chunk>
__device__ __forceinline__ void load_at(const Source* base, int64_t index, Chunk& chunk) {
  load(base + index, chunk);
}
template <int elements>
__device__ __forceinline__ void load_at(const PackedInt4* base, int64_t index,
                                        Chunk<float, elements>& chunk) {
  using Word = std::conditional_t<elements == kOctet, uint32_t, uint16_t>;
  static_assert(2 * sizeof(Word) == elements);
  const uint32_t word = *reinterpret_cast<const Word*>(base + index / 2);
  for (int i = 0; i < elements; ++i) {
    // 2^23 + nibble, without a conversion: those are slow.
    const float shifted = numerics::float_from_bits(0x4b000000u | (word >> (4 * i) & 0xfu));
    chunk.lanes[i] = numerics::subtract(shifted, 8388608.0f);
  }
}

/// What both read and write. Null `zeros` and `in_range` read as 0.
template <class Source>
struct MapParams {
  GroupedMatrix matrix;
  const Source* source;     ///< [rows, cols], or packed
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
constexpr int kMapElements = 8;  ///< a thread, the fastest found on an H200

/// No more than 16 bytes on either side: a warp then reads and writes whole lines at once.
template <class Map>
using MapChunk =
    Chunk<typename Map::Storage,
          sizeof(typename Map::Source) == 4 || sizeof(typename Map::Target) == 4 ? 4 : kOctet>;

/// Groups that are a multiple of 8 long, 16-byte aligned buffers.
template <class S, class Grid, class Map>
__global__ void __launch_bounds__(kMapThreads)
    map_chunks_kernel(MapParams<typename Map::Source> p, uint32_t chunks,
                      Divider chunks_per_group) {
  constexpr int kElements = MapChunk<Map>::kElements;
  constexpr int kChunks = kMapElements / kElements;
  constexpr uint32_t kChunksPerByte = kOctet / kElements;
  const uint32_t block_first = blockIdx.x * (kMapThreads * kChunks) + threadIdx.x;
  MapChunk<Map> values[kChunks];
  uint32_t bytes[kChunks];
#pragma unroll
  for (int j = 0; j < kChunks; ++j) {
    const uint32_t chunk = block_first + j * kMapThreads;
    if (chunk >= chunks) break;
    load_at(p.source, int64_t{chunk} * kElements, values[j]);
    bytes[j] = p.in_range == nullptr ? 0 : p.in_range[chunk / kChunksPerByte];
  }
#pragma unroll
  for (int j = 0; j < kChunks; ++j) {
    const uint32_t chunk = block_first + j * kMapThreads;
    if (chunk >= chunks) break;
    const Grid grid = stored_grid<S, Grid>(p, chunks_per_group.quotient(chunk));
    const uint32_t bits = bytes[j] >> (chunk % kChunksPerByte * kElements);
    const MaskReader<typename Map::Storage> in_range(bits);
#pragma unroll
    for (int i = 0; i < MapChunk<Map>::kSize; ++i) {
      const typename Map::Math value(values[j].lanes[i]);
      values[j].lanes[i] = Map::apply(grid, value, in_range.get(i));
    }
    store(values[j], static_cast<typename Map::Target*>(p.target) + int64_t{chunk} * kElements);
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
  const auto* source = row_of(p.source, row, m.cols);
  Target* target = static_cast<Target*>(p.target) + row * m.cols;
  for (int i = 0; i < 8 && first_col + i < m.cols; ++i) {
    const int64_t col = first_col + i;
    const Grid grid = stored_grid<S, Grid>(p, row * groups_per_row + col / m.group_size);
    target[col] = Target(Map::apply(grid, value_at(source, col), (bits >> i & 1u) != 0));
  }
}

}  // namespace nibble::kernels::cuda
