#pragma once

#include <nibble/kernels/fake_quant.h>

/// The steps of a decoder layer between its Linears, for inference on the CPU: each is one pass
/// over its operands, where a chain of tensor operations would be several. Sums are float32, in an
/// order that depends on the shape and on the processor alone. R_D rounds to `dtype`, which all
/// tensors of a call have.
namespace nibble::kernels {

/// y = R_D(x / sqrt(mean(x^2) + eps) * (weight_offset + w)), over the columns.
struct RmsNormParams {
  DType dtype = DType::kFloat32;
  int64_t cols = 0;
  const void* input = nullptr;   ///< [rows, cols]
  const void* weight = nullptr;  ///< [cols]
  float eps = 0.0f;
  float weight_offset = 0.0f;
  void* output = nullptr;  ///< [rows, cols]
};
void rms_norm_cpu(const RmsNormParams& params, int64_t row_begin, int64_t row_end);

/// y = R_D(R_D(g / (1 + exp(-g))) * u), element by element.
struct SwigluParams {
  DType dtype = DType::kFloat32;
  const void* gate = nullptr;
  const void* up = nullptr;
  void* output = nullptr;
};
void swiglu_cpu(const SwigluParams& params, int64_t begin, int64_t end);

/// Rotary positions: the first `rotary_dim` elements of each head become
/// R_D(R_D(x cos) + R_D(rotated(x) sin)), rotated(x) being (-x2, x1) for halves x1 and x2; the
/// others stay. The bits are those of the three tensor operations.
struct RotaryParams {
  DType dtype = DType::kFloat32;
  int64_t heads = 0;
  int64_t head_dim = 0;
  int64_t rotary_dim = 0;       ///< even
  const void* input = nullptr;  ///< [tokens, heads, head_dim]
  int64_t token_stride = 0;     ///< elements between the tokens of `input`
  const void* cos = nullptr;    ///< [positions, rotary_dim]; token t has row t % positions
  const void* sin = nullptr;    ///< the same
  int64_t positions = 0;
  void* output = nullptr;  ///< [tokens, heads, head_dim], contiguous
};
void rotate_cpu(const RotaryParams& params, int64_t token_begin, int64_t token_end);

/// Attention of one query a row over the keys that a cache holds, probabilities in float32:
/// y = R_D(softmax(scale q k^T + bias) v). `heads / kv_heads` query heads share a key head.
struct SingleQueryAttentionParams {
  DType dtype = DType::kFloat32;
  int64_t heads = 0;
  int64_t kv_heads = 0;  ///< divides heads
  int64_t head_dim = 0;  ///< a multiple of kAttentionHeadMultiple
  int64_t keys = 0;      ///< at least 1
  float scale = 1.0f;
  const void* query = nullptr;  ///< [batch, heads, head_dim]
  const void* key = nullptr;    ///< [batch, kv_heads, keys, head_dim], keys lie side by side
  const void* value = nullptr;  ///< the same
  int64_t batch_stride = 0;     ///< elements between the rows of key and value
  int64_t head_stride = 0;      ///< elements between their heads
  const void* bias = nullptr;   ///< [batch, keys], -inf where hidden; null: none
  int64_t bias_stride = 0;      ///< elements between its rows; 0: one for all
  void* output = nullptr;       ///< [batch, heads, head_dim]
};
inline constexpr int64_t kAttentionHeadMultiple = 16;
/// What one call of single_query_attention_cpu() needs as scratch, aligned to 64 bytes.
int64_t single_query_attention_scratch_bytes(const SingleQueryAttentionParams& params);
/// Query heads [begin, end) of all batch * heads.
void single_query_attention_cpu(const SingleQueryAttentionParams& params, int64_t begin,
                                int64_t end, void* scratch);

}  // namespace nibble::kernels
