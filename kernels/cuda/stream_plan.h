#pragma once

#include <algorithm>
#include <optional>

#include "device/input_row.cuh"
#include "device/int4_stream.cuh"
#include "launch.h"

/// How the blocks of a launch share weights out, on the host.
namespace nibble::kernels::cuda {

struct StreamLaunch {
  StreamPlan plan;
  LaunchShape shape;
};

/// Gives each product blocks in proportion to its row tiles, `blocks` in all unless there are fewer
/// tiles. Returns how many there are, and in `longest` the most tiles of one.
inline uint32_t share_out(Int4Products& products, int64_t count, uint32_t blocks,
                          uint32_t& longest) {
  uint64_t tiles[kMostSharedProducts], own[kMostSharedProducts], all_tiles = 0, all = 0;
  for (int64_t i = 0; i < count; ++i) {
    tiles[i] = ceil_divide(products.products[i].rows, kTileRows);
    all_tiles += tiles[i];
  }
  for (int64_t i = 0; i < count; ++i) {
    own[i] = std::clamp<uint64_t>(tiles[i] * blocks / all_tiles, 1, tiles[i]);
    all += own[i];
  }
  while (all < std::min<uint64_t>(blocks, all_tiles)) {
    int64_t busiest = 0;
    for (int64_t i = 1; i < count; ++i) {
      if (tiles[i] * own[busiest] > tiles[busiest] * own[i]) busiest = i;
    }
    ++own[busiest];
    ++all;
  }
  longest = 0;
  uint32_t first = 0;
  for (int64_t i = 0; i < kMostSharedProducts; ++i) {
    Int4Product& product = products.products[i];
    product.first_block = i < count ? first : ~0u;
    if (i >= count) continue;
    product.block_tiles = static_cast<uint32_t>(tiles[i] / own[i]);
    product.longer_blocks = static_cast<uint32_t>(tiles[i] % own[i]);
    longest = std::max(longest, product.block_tiles + (product.longer_blocks > 0 ? 1 : 0));
    first += static_cast<uint32_t>(own[i]);
  }
  return first;
}

/// Of blocks with up to `shared_bytes` of shared memory; none if that is not enough for one tile.
template <class Cut>
std::optional<StreamLaunch> plan_stream(Int4Products& products, int64_t count, size_t scale_bytes,
                                        bool has_zeros, size_t shared_bytes) {
  const auto multiprocessors =
      static_cast<uint32_t>(device_attribute(cudaDevAttrMultiProcessorCount));
  const int64_t chunks = ceil_divide(products.columns.units, kChunkUnits);
  const int64_t passes = ceil_divide(chunks, kStreamWarps * Cut::kChunks);
  const int64_t across = ceil_divide(chunks, passes * Cut::kChunks), down = kStreamWarps / across;
  const size_t warps = static_cast<size_t>(across * down);

  constexpr size_t kPiece = sizeof(uint4);
  const size_t row_bytes = products.columns.groups * scale_bytes;
  // A gap after every row puts the same group of eight rows into different banks.
  const bool has_gaps = row_bytes % kPiece == 0;
  const size_t grid_row_bytes = row_bytes + (has_gaps ? kPiece : 0);
  const size_t tile_grid_bytes = kTileRows * grid_row_bytes * (has_zeros ? 2 : 1);
  const size_t tile_sum_bytes = static_cast<size_t>(across) * Cut::kSums * sizeof(float);
  const size_t input_bytes =
      input_row_bytes(products) + warps * (Cut::kRingBytes + Cut::kInputBytes);
  // Passes add to the sums of all tiles; with one, sums of a few tiles at a time are enough.
  const size_t least_sum_bytes = passes > 1 ? 0 : static_cast<size_t>(down) * tile_sum_bytes;
  if (shared_bytes < input_bytes + least_sum_bytes) return std::nullopt;
  const size_t most_tiles = (shared_bytes - input_bytes - least_sum_bytes) /
                            (tile_grid_bytes + (passes > 1 ? tile_sum_bytes : 0));
  if (most_tiles == 0) return std::nullopt;

  int64_t tiles = 0;
  for (int64_t i = 0; i < count; ++i) tiles += ceil_divide(products.products[i].rows, kTileRows);
  const int64_t waves =
      ceil_divide(ceil_divide(tiles, static_cast<int64_t>(most_tiles)), multiprocessors);
  for (auto wanted = static_cast<uint32_t>(waves) * multiprocessors;; wanted += multiprocessors) {
    uint32_t longest;
    const uint32_t blocks = share_out(products, count, wanted, longest);
    if (longest > most_tiles) continue;  // shares are rounded up
    const size_t grid_bytes = longest * tile_grid_bytes;
    const size_t room = (shared_bytes - input_bytes - grid_bytes) / tile_sum_bytes;
    const uint32_t section = room >= longest ? longest : static_cast<uint32_t>(room / down * down);
    const StreamPlan plan = {
        static_cast<uint32_t>(across), static_cast<uint32_t>(down), static_cast<uint32_t>(passes),
        section, static_cast<uint32_t>(grid_row_bytes),
        static_cast<uint32_t>(longest * kTileRows * grid_row_bytes),
        Divider(has_gaps ? static_cast<uint32_t>(row_bytes / kPiece) : 1u << 30),
        // Blocks of the next launch begin where there is room. That is the same
        // everywhere if all multiprocessors have as many of these.
        blocks % multiprocessors == 0,
        /*waits_first=*/false};
    return StreamLaunch{plan,
                        {blocks, static_cast<unsigned>(warps * kWarp),
                         grid_bytes + input_bytes + section * tile_sum_bytes}};
  }
}

/// The same with as much shared memory as leaves room for Cut::kBlocks blocks, or as a block can
/// have.
template <class Cut>
std::optional<StreamLaunch> plan_stream(Int4Products& products, int64_t count, size_t scale_bytes,
                                        bool has_zeros) {
  const size_t reserved =
                   static_cast<size_t>(device_attribute(cudaDevAttrReservedSharedMemoryPerBlock)),
               most =
                   static_cast<size_t>(device_attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin)),
               all = static_cast<size_t>(
                   device_attribute(cudaDevAttrMaxSharedMemoryPerMultiprocessor));
  const auto shared = plan_stream<Cut>(products, count, scale_bytes, has_zeros,
                                       std::min(most, all / Cut::kBlocks - reserved));
  return shared ? shared : plan_stream<Cut>(products, count, scale_bytes, has_zeros, most);
}

}  // namespace nibble::kernels::cuda
