#include <nibble/kernels/fake_quant_cuda.h>

#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include "launch.h"

namespace nibble::ops {
namespace {

template <class Params>
void run(const Params& params, const at::Device& device,
         void (*kernel)(const Params&, CUstream_st*)) {
  const c10::cuda::CUDAGuard guard(device);
  kernel(params, c10::cuda::getCurrentCUDAStream(device.index()).stream());
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

}  // namespace nibble::ops
