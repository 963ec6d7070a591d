#pragma once

#include "async_copy.cuh"
#include "gated_silu.cuh"
#include "int4_products.cuh"
#include "rms_norm_row.cuh"

/// The input of products of one token, where every block makes it itself: that takes less time than
/// a kernel before this one.
namespace nibble::kernels::cuda {

/// Bytes of shared memory that an InputRow takes.
inline __host__ __device__ uint32_t input_row_bytes(const Int4Products& p) {
  const uint32_t bytes = p.columns.units * kUnit * 2;
  if (p.source.norm.weight != nullptr) return 2 * bytes + kWarp * sizeof(float);
  return p.source.gate.gate != nullptr ? bytes : 0;
}

template <class T>
class InputRow {
 public:
  __device__ InputRow(const Int4Products& p, uint4* shared)
      : p_(p), row_(shared), weight_(shared + octets()) {}

  /// Begins to copy what no earlier kernel writes, in the next group of copies.
  __device__ void copy_weight() const {
    if (!is_normed()) return;
    for (uint32_t i = threadIdx.x; i < octets(); i += blockDim.x) {
      copy_async(shared_address(weight_ + i), static_cast<const uint4*>(p_.source.norm.weight) + i);
    }
  }

  /// Makes the row, when that copy has arrived and earlier kernels have ended. All threads of the
  /// block call it.
  __device__ __forceinline__ void make() const {
    if (is_normed()) {
      norm();
    } else if (is_gated()) {
      gate();
    } else {
      return;
    }
    __syncthreads();
  }

  /// The products' input: the row, or what they were given.
  __device__ const void* input() const { return is_normed() || is_gated() ? row_ : p_.input; }

 private:
  __device__ bool is_normed() const { return p_.source.norm.weight != nullptr; }
  __device__ bool is_gated() const { return p_.source.gate.gate != nullptr; }
  __device__ uint32_t octets() const { return p_.columns.units * (kUnit / kOctet); }

  __device__ void keep(const Chunk<float, kOctet>& x, uint32_t col) const {
    reinterpret_cast<WordsOf<T, kOctet>*>(row_)[col / kOctet] = words_of<T>(x);
  }

  __device__ __forceinline__ void norm() const {
    const InputNorm& from = p_.source.norm;
    const RmsNormRow<T> row = {static_cast<const T*>(from.residual),
                               static_cast<const T*>(from.update),
                               reinterpret_cast<const T*>(weight_), from.eps, octets() * kOctet};
    row.run(
        reinterpret_cast<WordsOf<T, kOctet>*>(row_), reinterpret_cast<float*>(weight_ + octets()),
        [&](const auto& x, uint32_t col) {
          if (blockIdx.x == 0) store(x, static_cast<T*>(from.sum) + col);
        },
        [&](const auto& x, uint32_t col) { keep(x, col); });
  }

  __device__ __forceinline__ void gate() const {
    const auto* gate = static_cast<const T*>(p_.source.gate.gate);
    const auto* up = static_cast<const T*>(p_.source.gate.up);
#pragma unroll 2
    for (uint32_t octet = threadIdx.x; octet < octets(); octet += blockDim.x) {
      const uint32_t col = octet * kOctet;
      keep(gated_silu(gate + col, up + col), col);
    }
  }

  const Int4Products& p_;
  uint4* row_;
  uint4* weight_;
};

}  // namespace nibble::kernels::cuda
