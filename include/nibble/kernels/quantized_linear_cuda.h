#pragma once

#include <nibble/kernels/fake_quant.h>

struct CUstream_st;

namespace nibble::kernels {

/// y = x W^T for a weight kept as packed int4 codes: its values, the bits of dequantize_cuda(),
/// exist in registers only. Products are exact and summed in float32, in an order that depends on
/// the shape alone; y is rounded once.
struct QuantizedLinearParams {
  GroupedMatrix weight;  ///< rows: out features, cols: in features; dtype: that of x and y
  const uint8_t* packed_codes = nullptr;  ///< [rows, cols / 2], numerics/pack_int4.h
  const void* scales = nullptr;           ///< [rows, cols / group_size], scale_dtype
  const void* zeros = nullptr;            ///< the same; null for kSymmetricInt4
  int64_t tokens = 0;
  const void* input = nullptr;  ///< [tokens, cols]
  void* output = nullptr;       ///< [tokens, rows]
};

/// Whether quantized_linear_cuda() takes them: an int4 grid, bfloat16 or float16, 1 to 64 tokens,
/// group size a multiple of 32, buffers aligned to 16 bytes. Beyond that many tokens reading the
/// weight no longer decides the time: dequantize it and multiply.
bool can_run_quantized_linear(const QuantizedLinearParams& params);

/// On the current CUDA device; returns once the work is queued on `stream`. Throws Error for
/// parameters that it does not take, when the launch fails and, in a build without CUDA, always.
void quantized_linear_cuda(const QuantizedLinearParams& params, CUstream_st* stream);

}  // namespace nibble::kernels
