#pragma once

#include <nibble/ops/decode.h>
#include <nibble/ops/stages.h>
#include <nibble/ops/token_product.h>

#include <ATen/core/Tensor.h>

#include <vector>

/// What a decoder does with one token, as stages over buffers that keep their places. Each gives
/// the bits of the CPU operators that the ordinary forward calls. All throw Error for shapes and
/// dtypes that do not fit.
namespace nibble::ops {

/// The products, which read one token.
Stage product_stage(std::vector<TokenProduct> products);
/// `output` = silu(gate) * up of the products' outputs; all [features].
Stage gated_silu_stage(TokenProduct gate, TokenProduct up, const at::Tensor& output);
/// `residual` [features] += the product.
Stage residual_stage(const at::Tensor& residual, TokenProduct product);
/// `output` = RMSNorm of `x`, as rms_norm(), quantized where it quantizes; all [features].
Stage norm_stage(const at::Tensor& x, const at::Tensor& weight, double eps,
                 const TokenInput& output);
/// Makes the codes of `input`, which quantizes.
Stage quantize_stage(const TokenInput& input);

/// decode_attention() into `output` [heads, head_dim], contiguous as all of the inputs: the
/// position is read in each run, and an Error where the cache has no such place. Head dimensions of
/// a multiple of 16, see can_run_single_query_attention(). Needs no scratch.
std::vector<Stage> attention_stages(const DecodeAttention& inputs, const at::Tensor& output);

}  // namespace nibble::ops
