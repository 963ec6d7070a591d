#include "../reference/quantized_linear.h"

#include <nibble/kernels/cpu_isa.h>

#include "cpu_kernels.h"

namespace nibble::kernels {
namespace {

cpu::QuantizedLinearKernel kernel_of(CpuIsa isa) {
  cpu::check_supported(isa);
#if defined(NIBBLE_X86_KERNELS)
  if (isa >= CpuIsa::kAvx512) return cpu::kAvx512QuantizedLinear;
  if (isa >= CpuIsa::kAvx2) return cpu::kAvx2QuantizedLinear;
#endif
  return reference::quantized_linear;
}

}  // namespace

bool can_run_quantized_linear_cpu(const GroupedMatrix& weight) {
  return weight.grid != GridKind::kAsymmetricInt8 && weight.group_size % 8 == 0;
}

int64_t quantized_linear_scratch_bytes(const QuantizedLinearParams& params) {
  // See QuantizedLinearScratch; lanes and columns filled up to whole registers of 16 lanes.
  constexpr int64_t kLanes = 16, kBlock = 128;
  const int64_t groups = params.weight.cols / params.weight.group_size;
  const int64_t blocks = (params.weight.cols + kBlock - 1) / kBlock;
  const int64_t input = params.tokens * blocks * (kBlock + kLanes);
  const int64_t parameters = 2 * (groups + kLanes), lane_groups = 2 * blocks * (kLanes + 1);
  return static_cast<int64_t>(sizeof(float)) * (input + parameters + lane_groups);
}

void quantized_linear_cpu(const QuantizedLinearParams& params, int64_t row_begin, int64_t row_end,
                          void* scratch, CpuIsa isa) {
  kernel_of(isa)(params, row_begin, row_end, scratch);
}

void quantized_linear_cpu(const QuantizedLinearParams& params, int64_t row_begin, int64_t row_end,
                          void* scratch) {
  quantized_linear_cpu(params, row_begin, row_end, scratch, best_cpu_isa());
}

}  // namespace nibble::kernels
