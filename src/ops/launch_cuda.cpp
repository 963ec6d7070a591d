#include <nibble/kernels/fake_quant_cuda.h>

#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include "launch.h"

namespace nibble::ops {
namespace {

template <class Launch>
void on_stream(const at::Device& device, const Launch& launch) {
  const c10::cuda::CUDAGuard guard(device);
  launch(c10::cuda::getCurrentCUDAStream(device.index()).stream());
}

template <class Params>
void run(const Params& params, const at::Device& device,
         void (*kernel)(const Params&, CUstream_st*)) {
  on_stream(device, [&](CUstream_st* stream) { kernel(params, stream); });
}

}  // namespace

void launch_cuda(const kernels::FakeQuantParams& params, const at::Device& device) {
  run(params, device, kernels::fake_quantize_cuda);
}
void launch_cuda(const kernels::FakeQuantBackwardParams& params, const at::Device& device) {
  run(params, device, kernels::fake_quantize_backward_cuda);
}
void launch_cuda(const kernels::DequantizeParams& params, const at::Device& device) {
  run(params, device, kernels::dequantize_cuda);
}

void launch_cuda(const kernels::QuantizedLinearParams& params, const at::Device& device) {
  run(params, device, kernels::quantized_linear_cuda);
}
void launch_cuda(const kernels::AddRmsNormParams& params, const at::Device& device) {
  run(params, device, kernels::add_rms_norm_cuda);
}
void launch_cuda(const kernels::GatedSiluParams& params, const at::Device& device) {
  run(params, device, kernels::gated_silu_cuda);
}
void launch_cuda(const kernels::GreedyTokenParams& params, const at::Device& device) {
  run(params, device, kernels::greedy_token_cuda);
}
void launch_cuda(const kernels::AdvanceTokenParams& params, const at::Device& device) {
  run(params, device, kernels::advance_token_cuda);
}
void launch_cuda(const kernels::Int8EmbeddingParams& params, const at::Device& device) {
  run(params, device, kernels::int8_embedding_cuda);
}
void launch_cuda(const kernels::Int8WeightLinearParams& params, const at::Device& device) {
  run(params, device, kernels::int8_weight_linear_cuda);
}
void launch_cuda(const kernels::DecodeAttentionParams& params, const at::Device& device) {
  run(params, device, kernels::decode_attention_cuda);
}
void launch_cuda(const kernels::QuantizedLinearParams* params, int64_t count,
                 const at::Device& device) {
  on_stream(device,
            [&](CUstream_st* stream) { kernels::quantized_linears_cuda(params, count, stream); });
}
void launch_cuda(const kernels::TokenSource& source, const kernels::QuantizedLinearParams* params,
                 int64_t count, const at::Device& device) {
  on_stream(device, [&](CUstream_st* stream) {
    kernels::quantized_linears_cuda(source, params, count, stream);
  });
}

}  // namespace nibble::ops
