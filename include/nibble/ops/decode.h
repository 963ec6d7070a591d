#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <tuple>
#include <vector>

/// What decoding token by token is made of, each one launch on CUDA, none of which waits for the
/// device: they can be captured into a CUDA graph. On the CPU they are LibTorch's formulas. None is
/// differentiable. Operators of the dispatcher as those of fake_quant.h, with the same errors.
namespace nibble::ops {

/// `residual` += `update` in place, then RMSNorm of it over the last dimension: residual /
/// sqrt(mean(residual^2) + eps) * weight, in float32, rounded once. `residual` [..., n] and
/// contiguous, `weight` [n].
at::Tensor add_rms_norm(at::Tensor& residual, const std::optional<at::Tensor>& update,
                        const at::Tensor& weight, double eps);

/// silu(gate) * up, tensors of one shape and dtype.
at::Tensor gated_silu(const at::Tensor& gate, const at::Tensor& up);

/// The index of the largest of `logits` [n], int64 [1]: the lowest of equal ones.
at::Tensor greedy_token(const at::Tensor& logits);

/// Ends a step, in place: token = next, history[position % n] = next, position += 1. int64 [1] each
/// on one device; history int64 [n] there or in pinned memory. Not an operator of the dispatcher.
void advance_token(const at::Tensor& next, const at::Tensor& token, const at::Tensor& position,
                   const at::Tensor& history);

/// Attention of the newest token of one text; kernels/decode_attention_cuda.h says what is done.
/// All tensors but `position` and `scratch` have one dtype.
struct DecodeAttention {
  at::Tensor query;        ///< [heads, head_dim]
  at::Tensor key;          ///< [kv_heads, head_dim]
  at::Tensor value;        ///< as key
  at::Tensor key_cache;    ///< [kv_heads, capacity, head_dim], contiguous; written at `position`
  at::Tensor value_cache;  ///< as key_cache
  at::Tensor position;     ///< int64 [1]
  at::Tensor cos;          ///< [capacity, rotary_dim]
  at::Tensor sin;
  std::optional<at::Tensor> query_norm;  ///< [head_dim]: RMSNorm before the rotation; both or none
  std::optional<at::Tensor> key_norm;
  double norm_eps = 0;
  double scale = 1;               ///< of the scores
  std::optional<int64_t> window;  ///< tokens seen, itself included; empty: all
  at::Tensor scratch;             ///< of decode_attention_scratch()
};

/// [heads, head_dim]. On CUDA for bfloat16 and float16 heads of 64, 128 or 256; elsewhere an Error.
at::Tensor decode_attention(const DecodeAttention& inputs);
/// Scratch for calls with these heads and this cache, one after the other on a stream.
at::Tensor decode_attention_scratch(int64_t heads, const at::Tensor& key_cache);

/// x W^T for several weights of one x and one kind (q, k and v; gate and up): what quantized_linear
/// gives for each, in one launch on CUDA where it takes them. `zeros` is empty on the symmetric
/// grid. Differentiable in `x`.
std::vector<at::Tensor> quantized_linears(const at::Tensor& x, at::TensorList packed,
                                          at::TensorList scales, at::TensorList zeros,
                                          bool symmetric);

/// add_rms_norm() and the quantized_linears() of what it gives, for one token on CUDA in one
/// launch. The residual is not changed but its sum with `update` is returned: without one
/// `residual` itself.
std::tuple<at::Tensor, std::vector<at::Tensor>> norm_quantized_linears(
    const at::Tensor& residual, const std::optional<at::Tensor>& update, const at::Tensor& weight,
    double eps, at::TensorList packed, at::TensorList scales, at::TensorList zeros, bool symmetric);

/// The quantized_linears() of gated_silu(), for one token on CUDA in one launch.
std::vector<at::Tensor> gated_quantized_linears(const at::Tensor& gate, const at::Tensor& up,
                                                at::TensorList packed, at::TensorList scales,
                                                at::TensorList zeros, bool symmetric);

}  // namespace nibble::ops
