#pragma once

#include <nibble/kernels/fake_quant.h>

struct CUstream_st;

namespace nibble::kernels {

/// residual += update, rounded to the dtype; output = residual / sqrt(mean(residual^2) + eps) *
/// weight over each row, in float32, rounded once. Matrices are [rows, cols] of one dtype.
struct AddRmsNormParams {
  DType dtype = DType::kBFloat16;
  int64_t rows = 0;
  int64_t cols = 0;
  void* residual = nullptr;
  const void* update = nullptr;  ///< null: none
  const void* weight = nullptr;  ///< [cols]
  float eps = 0;
  void* output = nullptr;
};

/// Whether add_rms_norm_cuda() takes them: bfloat16 or float16, 8 to 16384 columns, a multiple of
/// 8, buffers aligned to 16 bytes.
bool can_run_add_rms_norm(const AddRmsNormParams& params);

/// On the current CUDA device; returns once the work is queued on `stream`. Throws Error for
/// parameters that it does not take, when the launch fails and, in a build without CUDA, always.
void add_rms_norm_cuda(const AddRmsNormParams& params, CUstream_st* stream);

}  // namespace nibble::kernels
