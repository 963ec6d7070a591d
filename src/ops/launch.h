#pragma once

#include <nibble/kernels/add_rms_norm_cuda.h>
#include <nibble/kernels/advance_token_cuda.h>
#include <nibble/kernels/decode_attention_cuda.h>
#include <nibble/kernels/decoder.h>
#include <nibble/kernels/fake_quant.h>
#include <nibble/kernels/gated_silu_cuda.h>
#include <nibble/kernels/greedy_token_cuda.h>
#include <nibble/kernels/int8_embedding_cuda.h>
#include <nibble/kernels/int8_linear.h>
#include <nibble/kernels/int8_weight_linear_cuda.h>
#include <nibble/kernels/quantized_linear_cuda.h>

#include <ATen/core/Tensor.h>

/// Runs a kernel where its tensors live: on the CPU split over LibTorch's threads, on CUDA on the
/// current stream. Meta tensors have shapes but no values, so nothing runs for them.
namespace nibble::ops {

void launch(const kernels::FakeQuantParams& params, const at::Device& device);
void launch(const kernels::FakeQuantBackwardParams& params, const at::Device& device);
void launch(const kernels::DequantizeParams& params, const at::Device& device);

// Products on the CPU: rows of the weight, the columns of the result, are split over the threads.
void launch_cpu(const kernels::QuantizedLinearParams& params);
void launch_cpu(const kernels::Int8ActivationParams& params, int64_t tokens);
void launch_cpu(const kernels::Int8LinearParams& params);
void launch_cpu(const kernels::Int8WeightLinearParams& params);

// Inference on the CPU: rows, elements, tokens or rows of the batch are split over the threads.
void launch_cpu(const kernels::RmsNormParams& params, int64_t rows);
void launch_cpu(const kernels::SwigluParams& params, int64_t elements);
void launch_cpu(const kernels::RotaryParams& params, int64_t tokens);
void launch_cpu(const kernels::SingleQueryAttentionParams& params, int64_t batch);

// The CUDA side of the above; in a build without CUDA it throws Error.
void launch_cuda(const kernels::FakeQuantParams& params, const at::Device& device);
void launch_cuda(const kernels::FakeQuantBackwardParams& params, const at::Device& device);
void launch_cuda(const kernels::DequantizeParams& params, const at::Device& device);
void launch_cuda(const kernels::QuantizedLinearParams& params, const at::Device& device);
void launch_cuda(const kernels::AddRmsNormParams& params, const at::Device& device);
void launch_cuda(const kernels::GatedSiluParams& params, const at::Device& device);
void launch_cuda(const kernels::GreedyTokenParams& params, const at::Device& device);
void launch_cuda(const kernels::AdvanceTokenParams& params, const at::Device& device);
void launch_cuda(const kernels::Int8EmbeddingParams& params, const at::Device& device);
void launch_cuda(const kernels::Int8WeightLinearParams& params, const at::Device& device);
void launch_cuda(const kernels::DecodeAttentionParams& params, const at::Device& device);
/// `count` products with one input.
void launch_cuda(const kernels::QuantizedLinearParams* params, int64_t count,
                 const at::Device& device);
/// With an input that is made in their launch.
void launch_cuda(const kernels::TokenSource& source, const kernels::QuantizedLinearParams* params,
                 int64_t count, const at::Device& device);

}  // namespace nibble::ops
