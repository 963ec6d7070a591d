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

/// Values [tokens][rows of a warpgroup] in shared memory, where rows are brought together before
/// they are stored. Piece i of a token's rows lies at i ^ token % 8: no two lanes meet in a bank.
template <class T, int tokens>
struct StagedValues {
  static constexpr uint32_t kBytes = tokens * kProductRows * sizeof(T);
  uint32_t base;

  __device__ uint32_t piece(uint32_t token, uint32_t index) const {
    return base + token * (kProductRows * sizeof(T)) + (index ^ token % 8) * 16;
  }
  /// Takes a warpgroup's sums of these tokens.
  __device__ void take(const float* sums) const {
    const uint32_t warp = threadIdx.x % kWarpgroup / kWarp, lane = threadIdx.x % kWarp;
#pragma unroll
    for (int token = 0; token < tokens; token += 16) {
      uint32_t matrices[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const float* pair = sums + token / 2 + 2 * i;
        matrices[i] = pack<T>(pair[0], pair[1]);
      }
      store_transposed(piece(token + lane / 16 * 8 + lane % 8, warp * 2 + lane / 8 % 2), matrices);
    }
  }
  /// Once all of the warpgroup's have been taken.
  __device__ void store(const WarpgroupProduct& p, const TilePlace& place) const {
    const uint32_t row = place.row + threadIdx.x / kWarpgroup * kProductRows;
#pragma unroll 4
    for (uint32_t i = threadIdx.x % kWarpgroup; i < tokens * 8; i += kWarpgroup) {
      store_octet<T>(p, place.token + i / 8, row + i % 8 * 8, load_shared(piece(i / 8, i % 8)));
    }
  }
};

/// Stores a warpgroup's sums.
template <class T, class Tile>
__device__ __forceinline__ void store_sums(const WarpgroupProduct& p,
                                           const float (&sums)[Tile::kTokens / 2],
                                           const WarpgroupShared<Tile>& shared,
                                           const TilePlace& place) {
  const uint32_t warpgroup = threadIdx.x / kWarpgroup;
  const StagedValues<T, Tile::kStoreTokens> values{shared.stores(warpgroup)};
#pragma unroll
  for (uint32_t first = 0; first < Tile::kTokens; first += Tile::kStoreTokens) {
    synchronize_threads(1 + warpgroup, kWarpgroup);  // what was there is read
    values.take(sums + first / 2);
    synchronize_threads(1 + warpgroup, kWarpgroup);
    values.store(p, {place.row, place.token + first});
  }
}

/// Where the sums of a cluster's blocks, each of which has a share of the columns, come together:
/// where their stages were. The tokens are cut into parts that the blocks own in turn; place turn *
/// blocks + i of an owner takes what block i has of its part `turn`.
template <class T, class Tile>
class SharedSums {
 public:
  __device__ explicit SharedSums(const WarpgroupShared<Tile>& shared)
      : cluster_(cluster_place()), places_(shared.base + threadIdx.x * kQuadBytes) {
    const uint32_t turns = (kParts + cluster_.blocks - 1) / cluster_.blocks;
    values_ = shared.base + turns * cluster_.blocks * kPlaceBytes +
              threadIdx.x / kWarpgroup * Values::kBytes;
  }

  /// Every part to its owner, this block's own too: sums are registers, so that which of them go
  /// where must not depend on the block.
  __device__ void send(const float (&sums)[Tile::kTokens / 2]) const {
    uint32_t owner = 0, place = places_ + cluster_.block * kPlaceBytes;
#pragma unroll
    for (uint32_t part = 0; part < kParts; ++part) {
      const uint32_t target = address_in_cluster(place, owner);
#pragma unroll
      for (uint32_t i = 0; i < kSums; i += 4) {
        store_in_cluster(target + i * kSumStride, sums + part * kSums + i);
      }
      if (++owner == cluster_.blocks) {
        owner = 0;
        place += cluster_.blocks * kPlaceBytes;
      }
    }
  }
  /// The block's own parts, in the order of the blocks.
  __device__ void add() const {
    uint32_t place = places_, values = values_;
#pragma unroll 1  // as everything that runs once: instructions come from afar
    for (uint32_t part = cluster_.block; part < kParts; part += cluster_.blocks) {
      float total[kSums] = {};
#pragma unroll 1
      for (uint32_t i = 0; i < cluster_.blocks; ++i, place += kPlaceBytes) add_place(place, total);
      Values{values}.take(total);
      values += kWarpgroups * Values::kBytes;
    }
  }
  /// Once the warpgroup has added them.
  __device__ void store(const WarpgroupProduct& p, const TilePlace& place) const {
    uint32_t values = values_;
#pragma unroll 1
    for (uint32_t part = cluster_.block; part < kParts; part += cluster_.blocks) {
      Values{values}.store(p, {place.row, place.token + part * Tile::kSharedTokens});
      values += kWarpgroups * Values::kBytes;
    }
  }

 private:
  using Values = StagedValues<T, Tile::kSharedTokens>;
  static constexpr uint32_t kParts = Tile::kTokens / Tile::kSharedTokens;
  static constexpr uint32_t kSums = Tile::kSharedTokens / 2;  ///< of a thread in a part
  /// A thread's sums lie in fours, beside those of the other threads.
  static constexpr uint32_t kQuadBytes = 4 * sizeof(float);
  static constexpr uint32_t kSumStride = Tile::kMultiplyThreads * sizeof(float);
  static constexpr uint32_t kPlaceBytes = kSums * kSumStride;

  __device__ static void add_place(uint32_t place, float (&total)[kSums]) {
#pragma unroll
    for (uint32_t i = 0; i < kSums; i += 4) {
      const uint4 quad = load_shared(place + i * kSumStride);
#pragma unroll
      for (uint32_t j = 0; j < 4; ++j) total[i + j] += __uint_as_float(word(quad, j));
    }
  }

  ClusterPlace cluster_;
  uint32_t places_, values_;
};

/// Adds the sums of a cluster's blocks and stores them.
template <class T, class Tile>
__device__ __forceinline__ void store_shared_sums(const WarpgroupProduct& p,
                                                  const float (&sums)[Tile::kTokens / 2],
                                                  const WarpgroupShared<Tile>& shared,
                                                  const TilePlace& place) {
  const SharedSums<T, Tile> shared_sums(shared);
  cluster_barrier();  // all have left their stages
  shared_sums.send(sums);
  cluster_barrier();
  shared_sums.add();
  synchronize_threads(1 + threadIdx.x / kWarpgroup, kWarpgroup);
  shared_sums.store(p, place);
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
