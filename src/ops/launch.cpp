#include "launch.h"

#include <nibble/core/error.h>

#include <ATen/Parallel.h>

#include "thread_scratch.h"

#if !defined(INTRA_OP_PARALLEL)
#error "compiled without LibTorch's threads (-fopenmp): every kernel would run on one core"
#endif

namespace nibble::ops {
namespace {

/// Items of so many elements that a thread should take at least: about 32 Ki elements, so that
/// small tensors stay on one.
int64_t grain(int64_t elements) {
  constexpr int64_t kElementsPerTask = 32768;
  return std::max<int64_t>(1, kElementsPerTask / std::max<int64_t>(1, elements));
}

/// Calls a product kernel over ranges of `tile` rows each, with a scratch for each thread.
template <class Params>
void run_product(const Params& params, int64_t rows, int64_t cols, int64_t tile,
                 int64_t scratch_bytes, void (*cpu)(const Params&, int64_t, int64_t, void*)) {
  if (rows == 0 || params.tokens == 0) return;
  at::parallel_for(0, (rows + tile - 1) / tile, grain(tile * cols * params.tokens),
                   [&](int64_t begin, int64_t end) {
                     cpu(params, begin * tile, std::min(end * tile, rows),
                         scratch_of_thread(scratch_bytes));
                   });
}

template <class Params>
void run(const Params& params, const at::Device& device,
         void (*cpu)(const Params&, int64_t, int64_t)) {
  if (params.matrix.rows == 0 || params.matrix.cols == 0) return;
  switch (device.type()) {
    case at::kMeta:
      return;
    case at::kCPU:
      at::parallel_for(0, params.matrix.rows, grain(params.matrix.cols),
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

void launch_cpu(const kernels::QuantizedLinearParams& params) {
  run_product(params, params.weight.rows, params.weight.cols, 1,
              kernels::quantized_linear_scratch_bytes(params), kernels::quantized_linear_cpu);
}
void launch_cpu(const kernels::Int8ActivationParams& params, int64_t tokens) {
  at::parallel_for(0, tokens, grain(params.cols), [&](int64_t begin, int64_t end) {
    kernels::arrange_int8_activations_cpu(params, begin, end);
  });
}
void launch_cpu(const kernels::Int8LinearParams& params) {
  run_product(params, params.weight.rows, params.weight.cols, kernels::kInt8LinearTileRows,
              kernels::int8_linear_scratch_bytes(params.weight), kernels::int8_linear_cpu);
}
void launch_cpu(const kernels::RmsNormParams& params, int64_t rows) {
  at::parallel_for(0, rows, grain(params.cols),
                   [&](int64_t begin, int64_t end) { kernels::rms_norm_cpu(params, begin, end); });
}
void launch_cpu(const kernels::SwigluParams& params, int64_t elements) {
  at::parallel_for(0, elements, grain(1),
                   [&](int64_t begin, int64_t end) { kernels::swiglu_cpu(params, begin, end); });
}
void launch_cpu(const kernels::RotaryParams& params, int64_t tokens) {
  at::parallel_for(0, tokens, grain(params.heads * params.head_dim),
                   [&](int64_t begin, int64_t end) { kernels::rotate_cpu(params, begin, end); });
}
void launch_cpu(const kernels::SingleQueryAttentionParams& params, int64_t batch) {
  at::parallel_for(0, batch * params.heads, grain(params.keys * params.head_dim),
                   [&](int64_t begin, int64_t end) {
                     kernels::single_query_attention_cpu(
                         params, begin, end,
                         scratch_of_thread(kernels::single_query_attention_scratch_bytes(params)));
                   });
}
void launch_cpu(const kernels::Int8WeightLinearParams& params) {
  run_product(params, params.rows, params.cols, 1,
              kernels::int8_weight_linear_scratch_bytes(params), kernels::int8_weight_linear_cpu);
}

}  // namespace nibble::ops
