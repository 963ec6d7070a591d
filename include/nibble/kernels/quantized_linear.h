#pragma once

#include <nibble/kernels/fake_quant.h>

namespace nibble::kernels {

/// y = x W^T for a weight kept as packed int4 codes: its values exist in registers only. Sums are
/// float32, in an order that depends on the shape and on the processor alone; y is rounded once. On
/// the CPU, and on CUDA for up to 16 tokens where groups are a multiple of 128 columns, sums over
/// codes times inputs are scaled, so that values are not rounded to the dtype before they are
/// multiplied. Elsewhere on CUDA values are rounded to the dtype: as dequantize_cuda() does it or,
/// for more than 16 tokens of a bfloat16 kAffineInt4 weight, code * scale + zero once, where
/// dequantize_cuda() rounds the product too. A row of more groups than quantized_linear_cuda.h
/// tells has few tokens multiplied as many.
struct QuantizedLinearParams {
  GroupedMatrix weight;  ///< rows: out features, cols: in features; dtype: that of x and y
  const uint8_t* packed_codes = nullptr;  ///< [rows, cols / 2], numerics/pack_int4.h
  const void* scales = nullptr;           ///< [rows, cols / group_size], scale_dtype
  const void* zeros = nullptr;            ///< the same; null for kSymmetricInt4
  int64_t tokens = 0;
  const void* input = nullptr;   ///< [tokens, cols]
  void* output = nullptr;        ///< [tokens, rows]
  bool weight_is_fresh = false;  ///< on CUDA, see quantized_linear_cuda()
};

/// Whether quantized_linear_cpu() takes them: an int4 grid, group size a multiple of 8. It is meant
/// for few tokens: beyond kQuantizedLinearFewTokens reading the weight no longer decides the time,
/// and a product of dequantized tiles is faster.
bool can_run_quantized_linear_cpu(const GroupedMatrix& weight);
inline constexpr int64_t kQuantizedLinearFewTokens = 16;

/// What one call of quantized_linear_cpu() needs as scratch, aligned to 64 bytes, whatever its
/// rows.
int64_t quantized_linear_scratch_bytes(const QuantizedLinearParams& params);

/// Columns [row_begin, row_end) of the output, for all tokens, as in fake_quant.h.
void quantized_linear_cpu(const QuantizedLinearParams& params, int64_t row_begin, int64_t row_end,
                          void* scratch);

}  // namespace nibble::kernels
