#include "launch.h"

#include <nibble/core/error.h>

#include <ATen/Parallel.h>

#if !defined(INTRA_OP_PARALLEL)
#error "compiled without LibTorch's threads (-fopenmp): every kernel would run on one core"
#endif

namespace nibble::ops {
namespace {

/// Rows a thread should take at least: about 32 Ki elements, so that small tensors stay on one.
int64_t grain(const kernels::GroupedMatrix& matrix) {
  constexpr int64_t kElementsPerTask = 32768;
  return std::max<int64_t>(1, kElementsPerTask / std::max<int64_t>(1, matrix.cols));
}

template <class Params>
void run(const Params& params, const at::Device& device,
         void (*cpu)(const Params&, int64_t, int64_t)) {
  if (params.matrix.rows == 0 || params.matrix.cols == 0) return;
  switch (device.type()) {
    case at::kMeta:
      return;
    case at::kCPU:
      at::parallel_for(0, params.matrix.rows, grain(params.matrix),
                       [&](int64_t begin, int64_t end) { cpu(params, begin, end); });
      return;
    case at::kCUDA:
      launch_cuda(params, device);
      return;
    default:
      fail("nibble ops run on cpu, cuda and meta tensors, got device ", device.str());
  }
}

}  // namespace

void launch(const kernels::FakeQuantParams& params, const at::Device& device) {
  run(params, device, kernels::fake_quantize_cpu);
}
void launch(const kernels::FakeQuantBackwardParams& params, const at::Device& device) {
  run(params, device, kernels::fake_quantize_backward_cpu);
}
void launch(const kernels::DequantizeParams& params, const at::Device& device) {
  run(params, device, kernels::dequantize_cpu);
}

}  // namespace nibble::ops
