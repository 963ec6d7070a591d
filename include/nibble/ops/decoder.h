#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

/// The steps of a decoder layer between its Linears, each one kernel (kernels/decoder.h) where
/// LibTorch has a chain of operations. For inference on the CPU only, so they are plain functions
/// and no operators: nothing records a gradient or a graph through them. Tensors of one call have
/// one dtype: float32, bfloat16 or float16. Throws Error for shapes that do not fit.
namespace nibble::ops {

/// Whether the functions below may stand for the operations on `x`: it lies on the CPU in one of
/// their dtypes, and neither gradients nor autocast are on.
bool runs_decoder_kernels(const at::Tensor& x);

/// x / sqrt(mean(x^2) + eps) * (weight_offset + weight) over the last dimension: `x` [..., n],
/// `weight` [n].
at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps,
                    double weight_offset);

/// silu(gate) * up, of one shape.
at::Tensor swiglu(const at::Tensor& gate, const at::Tensor& up);

/// Rotary positions: `x` [batch, tokens, heads, head_dim], whose heads and their elements lie side
/// by side; `cos` and `sin` [1 or batch, tokens, 1, rotary_dim], rotary_dim at most head_dim.
/// Contiguous result.
at::Tensor rotate(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin);

/// Whether single_query_attention() takes heads of this size.
bool can_run_single_query_attention(int64_t head_dim);
/// softmax(scale q k^T + bias) v for one query a row: `query` [batch, heads, 1, head_dim], `key`
/// and `value` [batch, kv_heads, keys, head_dim] whose keys lie side by side (a KV cache's views),
/// `bias` [1 or batch, 1, 1, keys]; heads / kv_heads query heads share a key head. Result
/// [batch, heads, 1, head_dim].
at::Tensor single_query_attention(const at::Tensor& query, const at::Tensor& key,
                                  const at::Tensor& value, const std::optional<at::Tensor>& bias,
                                  double scale);

}  // namespace nibble::ops
