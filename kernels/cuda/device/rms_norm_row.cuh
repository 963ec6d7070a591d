#pragma once

#include "chunk.cuh"
#include "sums.cuh"

/// RMSNorm of a row by one block.
namespace nibble::kernels::cuda {

template <class T>
struct RmsNormRow {
  const T* residual;
  const T* update;  ///< added to the residual; null: nothing is
  const T* weight;
  float eps;
  uint32_t cols;  ///< a multiple of kOctet

  /// All threads of the block call it. `row` is shared memory for the columns, `sums` for kWarp
  /// sums. keep(x, col) gets octets of the sum, rounded to T, store(x, col) those of the result.
  /// A thread has the same octets in both, so either may write to where they came from.
  template <class Keep, class Store>
  __device__ __forceinline__ void run(WordsOf<T, kOctet>* row, float* sums, Keep&& keep,
                                      Store&& store) const {
    const uint32_t step = blockDim.x * kOctet;
    float squares = 0;
    for (uint32_t col = threadIdx.x * kOctet; col < cols; col += step) {
      Chunk<float, kOctet> x;
      load(residual + col, x);
      if (update != nullptr) {
        Chunk<float, kOctet> added;
        load(update + col, added);
#pragma unroll
        for (int i = 0; i < kOctet; ++i) {
          x.lanes[i] = static_cast<float>(T(x.lanes[i] + added.lanes[i]));
        }
        keep(x, col);
      }
      row[col / kOctet] = words_of<T>(x);
#pragma unroll
      for (int i = 0; i < kOctet; ++i) squares = fmaf(x.lanes[i], x.lanes[i], squares);
    }
    const float mean = sum_of_block(squares, sums) / static_cast<float>(cols);
    const float factor = rsqrtf(mean + eps);
    for (uint32_t col = threadIdx.x * kOctet; col < cols; col += step) {
      Chunk<float, kOctet> x, weights;
      load(reinterpret_cast<const T*>(row + col / kOctet), x);
      load(weight + col, weights);
#pragma unroll
      for (int i = 0; i < kOctet; ++i) x.lanes[i] = x.lanes[i] * factor * weights.lanes[i];
      store(x, col);
    }
  }
};

}  // namespace nibble::kernels::cuda
