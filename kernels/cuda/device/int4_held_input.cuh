#pragma once

#include "int4_stream.cuh"
#include "tensor_core.cuh"

/// The input of products with few tokens.
namespace nibble::kernels::cuda {

/// The columns of the input that a warp multiplies, as operands of its products, and the sum of
/// each chunk. Columns beyond the last are zeros; tokens that are not there repeat the last, and
/// what comes of them is never stored.
template <class T, class Cut>
class HeldInput {
 public:
  /// `shared` is the warp's own, Cut::kInputBytes.
  __device__ explicit HeldInput(uint4* shared) : shared_(shared) {}

  /// Reads from chunk `first` on. All lanes of the warp call it.
  template <bool with_sums>
  __device__ __forceinline__ void read(const void* input, uint32_t tokens, uint32_t units,
                                       uint32_t first) {
    const auto* octets = static_cast<const uint4*>(input);
    if constexpr (Cut::kSharesInput) {
      read_shared(octets, units, first);
    } else {
#pragma unroll
      for (int chunk = 0; chunk < Cut::kChunks; ++chunk) {
#pragma unroll
        for (int tile = 0; tile < Cut::kTokenTiles; ++tile) {
          read_tile(octets, tokens, units, first + chunk, tile, octets_[chunk][tile]);
        }
      }
#pragma unroll
      for (int chunk = 0; chunk < Cut::kChunks; ++chunk) {
#pragma unroll
        for (int tile = 0; tile < Cut::kTokenTiles; ++tile) {
#pragma unroll
          for (uint4& octet : octets_[chunk][tile]) octet = paired(octet);
        }
      }
    }
    if constexpr (with_sums) add_up();
  }

  /// Octet `octet` of the lane's unit of a chunk, for token g of a tile.
  __device__ __forceinline__ uint4 octet(int chunk, int tile, int octet) const {
    if constexpr (Cut::kSharesInput) {
      return shared_[chunk * kChunkOctets + octet * kChunkUnits + threadIdx.x % 4];
    } else {
      return octets_[chunk][tile][octet];
    }
  }
  /// The sum of a chunk for token 2 t + i of a tile.
  __device__ __forceinline__ float sum(int chunk, int tile, int i) const {
    return sums_[chunk][tile][i];
  }

 private:
  static constexpr int kUnitOctets = kUnit / kOctet;

  /// Unit t of the chunk, of token g.
  __device__ static void read_tile(const uint4* octets, uint32_t tokens, uint32_t units,
                                   uint32_t chunk, int tile, uint4 (&unit_octets)[kUnitOctets]) {
    const uint32_t token = min(tile * kTileTokens + threadIdx.x % kWarp / 4, tokens - 1);
    const uint32_t unit = chunk * kChunkUnits + threadIdx.x % 4;
#pragma unroll
    for (int i = 0; i < kUnitOctets; ++i) {
      unit_octets[i] =
          unit < units ? octets[(token * units + unit) * kUnitOctets + i] : make_uint4(0, 0, 0, 0);
    }
  }

  /// Octet o of unit t of a chunk lies at 4 o + t, so that the lanes read neighbours.
  __device__ void read_shared(const uint4* octets, uint32_t units, uint32_t first) {
    __syncwarp();  // no lane reads what was there any more
#pragma unroll
    for (uint32_t begin = 0; begin < Cut::kChunks * kChunkOctets; begin += kWarp) {
      const uint32_t at = begin + threadIdx.x % kWarp, octet = first * kChunkOctets + at;
      if (at >= Cut::kChunks * kChunkOctets) break;
      const uint32_t in_chunk = at % kChunkOctets;
      shared_[at - in_chunk + in_chunk % kUnitOctets * kChunkUnits + in_chunk / kUnitOctets] =
          octet < units * kUnitOctets ? paired(octets[octet]) : make_uint4(0, 0, 0, 0);
    }
    __syncwarp();
  }

  /// Sums are products with rows of ones: each lane gets those of the tokens whose sums it holds.
  __device__ void add_up() {
    constexpr uint32_t kOnes = std::is_same_v<T, BFloat16> ? 0x3f803f80u : 0x3c003c00u;
#pragma unroll
    for (int chunk = 0; chunk < Cut::kChunks; ++chunk) {
#pragma unroll
      for (int tile = 0; tile < Cut::kTokenTiles; ++tile) {
        float first[4] = {}, second[4] = {};
#pragma unroll
        for (int i = 0; i < kUnitOctets; ++i) {
          const uint4 x = octet(chunk, tile, i);
          multiply_accumulate<T>(first, {kOnes, kOnes, kOnes, kOnes}, {x.x, x.y});
          multiply_accumulate<T>(second, {kOnes, kOnes, kOnes, kOnes}, {x.z, x.w});
        }
        sums_[chunk][tile][0] = first[0] + second[0];
        sums_[chunk][tile][1] = first[1] + second[1];
      }
    }
  }

  uint4* shared_;
  uint4 octets_[Cut::kSharesInput ? 1 : Cut::kChunks][Cut::kTokenTiles][kUnitOctets];
  float sums_[Cut::kChunks][Cut::kTokenTiles][2];
};

}  // namespace nibble::kernels::cuda
