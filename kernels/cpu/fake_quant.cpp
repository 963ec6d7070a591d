#include "../reference/fake_quant.h"

#include <nibble/core/error.h>
#include <nibble/kernels/cpu_isa.h>

#include "cpu_kernels.h"

namespace nibble::kernels {
namespace {

constexpr cpu::CpuKernels kPortableKernels = {
    reference::fake_quantize, reference::fake_quantize_backward, reference::dequantize};

const cpu::CpuKernels& kernels_of(CpuIsa isa) {
  NIBBLE_CHECK(is_supported(isa), "CPU kernels for ", name_of(isa),
               " are not supported by this machine or this build");
#if defined(NIBBLE_X86_KERNELS)
  if (isa == CpuIsa::kAvx512) return cpu::kAvx512Kernels;
  if (isa == CpuIsa::kAvx2) return cpu::kAvx2Kernels;
#endif
  return kPortableKernels;
}

CpuIsa detect_cpu_isa() {
  if (is_supported(CpuIsa::kAvx512)) return CpuIsa::kAvx512;
  if (is_supported(CpuIsa::kAvx2)) return CpuIsa::kAvx2;
  return CpuIsa::kPortable;
}

}  // namespace

std::string_view name_of(CpuIsa isa) {
  switch (isa) {
    case CpuIsa::kPortable:
      return "portable";
    case CpuIsa::kAvx2:
      return "avx2";
    case CpuIsa::kAvx512:
      return "avx512";
  }
  fail("unknown instruction set ", static_cast<int>(isa));
}

bool is_supported(CpuIsa isa) {
#if defined(NIBBLE_X86_KERNELS)
  if (isa == CpuIsa::kAvx512) {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  }
  if (isa == CpuIsa::kAvx2) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("f16c");
#endif
  return isa == CpuIsa::kPortable;
}

CpuIsa best_cpu_isa() {
  static const CpuIsa best = detect_cpu_isa();
  return best;
}

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
