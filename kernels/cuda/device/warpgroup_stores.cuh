#pragma once

#include "int4_warpgroup_tiles.cuh"

/// From the sums of a warpgroup to the output [tokens, rows].
namespace nibble::kernels::cuda {

/// Eight consecutive rows of a token, as far as they are there.
template <class T>
__device__ __forceinline__ void store_octet(const WarpgroupProduct& p, uint32_t token, uint32_t row,
                                            const uint4& values) {
  if (token >= p.tokens || row >= p.rows) return;
  T* target = static_cast<T*>(p.output) + uint64_t{token} * p.rows + row;
  if (p.stores_octets) {
    *reinterpret_cast<uint4*>(target) = values;
    return;
  }
#pragma unroll
  for (int i = 0; i < kOctet; ++i) {
    if (row + i < p.rows) {
      target[i] = T::from_bits(static_cast<uint16_t>(word(values, i / 2) >> (i % 2 * 16)));
    }
  }
}

/// Stores a warpgroup's sums, through shared memory, where rows are brought together. Piece i of a
/// token's rows lies at i ^ token % 8: no two lanes meet in a bank.
template <class T, class Tile>
__device__ __forceinline__ void store_sums(const WarpgroupProduct& p,
                                           const float (&sums)[Tile::kTokens / 2],
                                           const WarpgroupShared<Tile>& shared,
                                           const TilePlace& place) {
  const uint32_t warpgroup = threadIdx.x / kWarpgroup, thread = threadIdx.x % kWarpgroup;
  const uint32_t warp = thread / kWarp, lane = thread % kWarp;
  const uint32_t base = shared.stores(warpgroup);
  const auto address = [base](uint32_t token, uint32_t piece) {
    return base + token * (kProductRows * 2) + (piece ^ token % 8) * 16;
  };
#pragma unroll
  for (int first = 0; first < Tile::kTokens; first += Tile::kStoreTokens) {
    synchronize_threads(1 + warpgroup, kWarpgroup);  // what was there is read
#pragma unroll
    for (int token = 0; token < Tile::kStoreTokens; token += 16) {
      uint32_t matrices[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const float* pair = sums + (first + token) / 2 + 2 * i;
        matrices[i] = pack<T>(pair[0], pair[1]);
      }
      store_transposed(address(token + lane / 16 * 8 + lane % 8, warp * 2 + lane / 8 % 2),
                       matrices);
    }
    synchronize_threads(1 + warpgroup, kWarpgroup);
#pragma unroll 4
    for (uint32_t i = thread; i < Tile::kStoreTokens * 8; i += kWarpgroup) {
      store_octet<T>(p, place.token + first + i / 8,
                     place.row + warpgroup * kProductRows + i % 8 * 8,
                     load_shared(address(i / 8, i % 8)));
    }
  }
}

/// Adds the sums of the second warpgroup to those of the first, where each has half of the columns.
template <class Tile>
__device__ __forceinline__ void add_halves(float (&sums)[Tile::kTokens / 2],
                                           const WarpgroupShared<Tile>& shared) {
  constexpr uint32_t kBothBarrier = 1 + kWarpgroups;
  const uint32_t mine = shared.base + Tile::kSums + threadIdx.x % kWarpgroup * sizeof(float);
  const bool is_first = threadIdx.x < kWarpgroup;
  if (!is_first) {
#pragma unroll
    for (int i = 0; i < Tile::kTokens / 2; ++i) {
      store_shared(mine + i * kWarpgroup * sizeof(float), sums[i]);
    }
  }
  synchronize_threads(kBothBarrier, Tile::kMultiplyThreads);
  if (is_first) {
#pragma unroll
    for (int i = 0; i < Tile::kTokens / 2; ++i) {
      sums[i] += load_shared_float(mine + i * kWarpgroup * sizeof(float));
    }
  }
  synchronize_threads(kBothBarrier, Tile::kMultiplyThreads);  // before the next tile's are stored
}

}  // namespace nibble::kernels::cuda
