#pragma once

#include <nibble/kernels/fake_quant.h>

struct CUstream_st;

namespace nibble::kernels {

/// Rows of a matrix kept as int8 codes: output[i] = codes[ids[i]] * scales, in float32, rounded
/// once.
struct Int8EmbeddingParams {
  DType dtype = DType::kBFloat16;  ///< of the output
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t groups = 0;             ///< scales of a row, each for cols / groups columns
  const int8_t* codes = nullptr;  ///< [rows, cols]
  const float* scales = nullptr;  ///< [rows, groups]
  int64_t tokens = 0;
  const int64_t* ids = nullptr;  ///< [tokens], 0 to rows - 1: any other is a device-side failure
  void* output = nullptr;        ///< [tokens, cols]
};

/// Whether int8_embedding_cuda() takes them: groups of a multiple of 8 columns, codes aligned to 8,
/// the output to 16 bytes, up to 2^31 values.
bool can_run_int8_embedding(const Int8EmbeddingParams& params);

/// On the current CUDA device; returns once the work is queued on `stream`. Throws Error for
/// parameters that it does not take, when the launch fails and, in a build without CUDA, always.
void int8_embedding_cuda(const Int8EmbeddingParams& params, CUstream_st* stream);

}  // namespace nibble::kernels
