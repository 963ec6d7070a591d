#include "../reference/fake_quant.h"

#include <nibble/kernels/cpu_isa.h>

#include "cpu_kernels.h"

namespace nibble::kernels {
namespace {

constexpr cpu::CpuKernels kPortableKernels = {
    reference::fake_quantize, reference::fake_quantize_backward, reference::dequantize};

const cpu::CpuKernels& kernels_of(CpuIsa isa) {
  cpu::check_supported(isa);
#if defined(NIBBLE_X86_KERNELS)
  if (isa >= CpuIsa::kAvx512) return cpu::kAvx512Kernels;
  if (isa == CpuIsa::kAvx2) return cpu::kAvx2Kernels;
#endif
  return kPortableKernels;
}

}  // namespace

void fake_quantize_cpu(const FakeQuantParams& params, int64_t row_begin, int64_t row_end,
                       CpuIsa isa) {
  kernels_of(isa).fake_quantize(params, row_begin, row_end);
}

void fake_quantize_backward_cpu(const FakeQuantBackwardParams& params, int64_t row_begin,
                                int64_t row_end, CpuIsa isa) {
  kernels_of(isa).fake_quantize_backward(params, row_begin, row_end);
}

void dequantize_cpu(const DequantizeParams& params, int64_t row_begin, int64_t row_end,
                    CpuIsa isa) {
  kernels_of(isa).dequantize(params, row_begin, row_end);
}

void fake_quantize_cpu(const FakeQuantParams& params, int64_t row_begin, int64_t row_end) {
  fake_quantize_cpu(params, row_begin, row_end, best_cpu_isa());
}

void fake_quantize_backward_cpu(const FakeQuantBackwardParams& params, int64_t row_begin,
                                int64_t row_end) {
  fake_quantize_backward_cpu(params, row_begin, row_end, best_cpu_isa());
}

void dequantize_cpu(const DequantizeParams& params, int64_t row_begin, int64_t row_end) {
  dequantize_cpu(params, row_begin, row_end, best_cpu_isa());
}

}  // namespace nibble::kernels
