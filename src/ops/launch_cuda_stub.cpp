#include <nibble/core/error.h>

#include "launch.h"

namespace nibble::ops {
namespace {

[[noreturn]] void refuse(const at::Device& device) {
  fail("this build of nibble has no CUDA kernels, got a tensor on ", device.str(),
       "; configure with NIBBLE_CUDA=ON");
}

}  // namespace

void launch_cuda(const kernels::FakeQuantParams&, const at::Device& device) { refuse(device); }
void launch_cuda(const kernels::FakeQuantBackwardParams&, const at::Device& device) {
  refuse(device);
}
void launch_cuda(const kernels::DequantizeParams&, const at::Device& device) { refuse(device); }
void launch_cuda(const kernels::QuantizedLinearParams&, const at::Device& device) {
  refuse(device);
}
void launch_cuda(const kernels::AddRmsNormParams&, const at::Device& device) { refuse(device); }
void launch_cuda(const kernels::GatedSiluParams&, const at::Device& device) { refuse(device); }
void launch_cuda(const kernels::GreedyTokenParams&, const at::Device& device) { refuse(device); }
void launch_cuda(const kernels::AdvanceTokenParams&, const at::Device& device) { refuse(device); }
void launch_cuda(const kernels::Int8EmbeddingParams&, const at::Device& device) { refuse(device); }
void launch_cuda(const kernels::Int8WeightLinearParams&, const at::Device& device) {
  refuse(device);
}
void launch_cuda(const kernels::DecodeAttentionParams&, const at::Device& device) {
  refuse(device);
}
void launch_cuda(const kernels::QuantizedLinearParams*, int64_t, const at::Device& device) {
  refuse(device);
}
void launch_cuda(const kernels::TokenSource&, const kernels::QuantizedLinearParams*, int64_t,
                 const at::Device& device) {
  refuse(device);
}

}  // namespace nibble::ops
