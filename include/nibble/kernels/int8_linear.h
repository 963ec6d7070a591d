#pragma once

#include <nibble/kernels/fake_quant.h>

/// The Linear of 8da4w in integers: int8 activations, one scale and zero point a token, times int4
/// weights, one scale a group, read as they are packed.
///
///   y[t][r] = R_D(s[t] * sum over groups g of s[r][g] * sum over k in g of (x[t][k] - z[t])
///   w[r][k])
///
/// The inner sums are exact integers; the outer one takes its groups in ascending order, one fused
/// multiply-add each, in float32. So every instruction set, any number of tokens and any split of
/// the rows give the same bits.
namespace nibble::kernels {

/// Activation codes in the order in which the kernels read them: the columns of every eight as
/// 0, 2, 4, 6, 1, 3, 5, 7, which is how four packed bytes come apart, each code plus 128.
struct Int8ActivationParams {
  const int8_t* codes = nullptr;  ///< [tokens, cols]
  int64_t cols = 0;               ///< a multiple of 8
  uint8_t* arranged = nullptr;    ///< [tokens, cols]
};

struct Int8LinearParams {
  GroupedMatrix
      weight;  ///< rows: out features, cols: in features; kSymmetricInt4; dtype: that of y
  const uint8_t* packed_codes = nullptr;  ///< [rows, cols / 2], numerics/pack_int4.h
  const void* scales = nullptr;           ///< [rows, cols / group_size], scale_dtype
  int64_t tokens = 0;
  const uint8_t* arranged = nullptr;         ///< [tokens, cols]
  const float* activation_scales = nullptr;  ///< [tokens]; a NaN makes the token's outputs NaN
  const float* activation_zeros =
      nullptr;             ///< [tokens], integers -128..127 unless the scale is NaN
  void* output = nullptr;  ///< [tokens, rows]
};

/// Whether the kernels take such a weight: symmetric int4, groups of a multiple of 8 columns.
bool can_run_int8_linear(const GroupedMatrix& weight);

/// What one call of int8_linear_cpu() needs as scratch, aligned to 64 bytes, whatever its rows.
int64_t int8_linear_scratch_bytes(const GroupedMatrix& weight);

/// Rows that a kernel unpacks together: ranges of a multiple of it waste nothing.
inline constexpr int64_t kInt8LinearTileRows = 32;

/// Tokens [token_begin, token_end).
void arrange_int8_activations_cpu(const Int8ActivationParams& params, int64_t token_begin,
                                  int64_t token_end);
/// Columns [row_begin, row_end) of the output, for all tokens.
void int8_linear_cpu(const Int8LinearParams& params, int64_t row_begin, int64_t row_end,
                     void* scratch);

}  // namespace nibble::kernels
