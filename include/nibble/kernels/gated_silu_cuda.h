#pragma once

#include <nibble/kernels/fake_quant.h>

struct CUstream_st;

namespace nibble::kernels {

/// output = silu(gate) * up, silu rounded to the dtype before the product as LibTorch does.
struct GatedSiluParams {
  DType dtype = DType::kBFloat16;
  int64_t elements = 0;
  const void* gate = nullptr;
  const void* up = nullptr;
  void* output = nullptr;
};

/// Whether gated_silu_cuda() takes them: bfloat16 or float16, a multiple of 8 elements, at least 8,
/// buffers aligned to 16 bytes.
bool can_run_gated_silu(const GatedSiluParams& params);

/// On the current CUDA device; returns once the work is queued on `stream`. Throws Error for
/// parameters that it does not take, when the launch fails and, in a build without CUDA, always.
void gated_silu_cuda(const GatedSiluParams& params, CUstream_st* stream);

}  // namespace nibble::kernels
