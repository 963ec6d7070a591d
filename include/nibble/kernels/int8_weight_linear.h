#pragma once

#include <nibble/kernels/fake_quant.h>

namespace nibble::kernels {

/// y = x W^T for a weight kept as int8 (an embedding that is the output projection too), one scale
/// for each group of a row's columns: y[t][r] = R_D(sum over groups g of s[r][g] * sum over k in g
/// of x[t][k] q[r][k]). Sums are float32, in an order that depends on the shape and on the
/// processor alone.
struct Int8WeightLinearParams {
  int64_t rows = 0;               ///< out features
  int64_t cols = 0;               ///< in features
  DType dtype = DType::kFloat32;  ///< of x and y
  const int8_t* codes = nullptr;  ///< [rows, cols]
  const float* scales = nullptr;  ///< [rows, groups]
  int64_t groups = 1;             ///< scales a row, divides cols
  int64_t tokens = 0;
  const void* input = nullptr;  ///< [tokens, cols]
  void* output = nullptr;       ///< [tokens, rows]
};

/// Beyond so many tokens a product of dequantized tiles is faster.
inline constexpr int64_t kInt8WeightLinearFewTokens = 8;

/// What one call of int8_weight_linear_cpu() needs as scratch, aligned to 64 bytes.
int64_t int8_weight_linear_scratch_bytes(const Int8WeightLinearParams& params);

/// Columns [row_begin, row_end) of the output, for all tokens, as in fake_quant.h.
void int8_weight_linear_cpu(const Int8WeightLinearParams& params, int64_t row_begin,
                            int64_t row_end, void* scratch);

}  // namespace nibble::kernels
