#include "../reference/int8_weight_linear.h"

#include <nibble/kernels/cpu_isa.h>

#include "cpu_kernels.h"

namespace nibble::kernels {
namespace {

cpu::Int8WeightLinearKernel kernel_of(CpuIsa isa) {
  cpu::check_supported(isa);
#if defined(NIBBLE_X86_KERNELS)
  if (isa >= CpuIsa::kAvx512) return cpu::kAvx512Int8WeightLinear;
  if (isa >= CpuIsa::kAvx2) return cpu::kAvx2Int8WeightLinear;
#endif
  return reference::int8_weight_linear;
}

}  // namespace

int64_t int8_weight_linear_scratch_bytes(const Int8WeightLinearParams& params) {
  // The input as float32, with room for the whole register that a group may end in.
  constexpr int64_t kLanes = 16;
  return static_cast<int64_t>(sizeof(float)) * params.tokens *
         ((params.cols + kLanes - 1) / kLanes * kLanes + kLanes);
}

void int8_weight_linear_cpu(const Int8WeightLinearParams& params, int64_t row_begin,
                            int64_t row_end, void* scratch, CpuIsa isa) {
  kernel_of(isa)(params, row_begin, row_end, scratch);
}

void int8_weight_linear_cpu(const Int8WeightLinearParams& params, int64_t row_begin,
                            int64_t row_end, void* scratch) {
  int8_weight_linear_cpu(params, row_begin, row_end, scratch, best_cpu_isa());
}

}  // namespace nibble::kernels
