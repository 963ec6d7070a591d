#include "../reference/quantized_linear.h"

#include <nibble/kernels/cpu_isa.h>

#include "cpu_kernels.h"

namespace nibble::kernels {
namespace {

cpu::QuantizedLinearKernel kernel_of(CpuIsa isa, DType dtype) {
  cpu::check_supported(isa);
#if defined(NIBBLE_X86_KERNELS)
  if (isa >= CpuIsa::kAvx512Bf16 && dtype == DType::kBFloat16) {
    return cpu::kAvx512Bf16QuantizedLinear;
  }
  if (isa >= CpuIsa::kAvx512) return cpu::kAvx512QuantizedLinear;
  if (isa >= CpuIsa::kAvx2) return cpu::kAvx2QuantizedLinear;
#endif
  (void)dtype;
  return reference::quantized_linear;
}

}  // namespace

bool can_run_quantized_linear_cpu(const GroupedMatrix& weight) {
  return weight.grid != GridKind::kAsymmetricInt8 && weight.group_size % 32 == 0;
}

int64_t quantized_linear_scratch_bytes(const QuantizedLinearParams& params) {
  // The input as float32, its columns filled up to a multiple of 64; a row's scales and zeros.
  const int64_t padded = (params.weight.cols + 63) / 64 * 64;
  const int64_t groups = params.weight.cols / params.weight.group_size;
  return static_cast<int64_t>(sizeof(float)) * (params.tokens * padded + 2 * groups);
}

void quantized_linear_cpu(const QuantizedLinearParams& params, int64_t row_begin, int64_t row_end,
                          void* scratch, CpuIsa isa) {
  kernel_of(isa, params.weight.dtype)(params, row_begin, row_end, scratch);
}

void quantized_linear_cpu(const QuantizedLinearParams& params, int64_t row_begin, int64_t row_end,
                          void* scratch) {
  quantized_linear_cpu(params, row_begin, row_end, scratch, best_cpu_isa());
}

}  // namespace nibble::kernels
