#include <nibble/core/error.h>
#include <nibble/kernels/cpu_isa.h>

#include "cpu_kernels.h"

namespace nibble::kernels {
namespace {

CpuIsa detect_cpu_isa() {
  CpuIsa best = CpuIsa::kPortable;
  for (const CpuIsa isa : kAllCpuIsas) {
    if (is_supported(isa)) best = isa;
  }
  return best;
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
    case CpuIsa::kAvx512Vnni:
      return "avx512_vnni";
  }
  fail("unknown instruction set ", static_cast<int>(isa));
}

bool is_supported(CpuIsa isa) {
#if defined(NIBBLE_X86_KERNELS)
  switch (isa) {
    case CpuIsa::kPortable:
      return true;
    case CpuIsa::kAvx2:
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("f16c") &&
             __builtin_cpu_supports("fma");
    case CpuIsa::kAvx512:
      return is_supported(CpuIsa::kAvx2) && __builtin_cpu_supports("avx512f") &&
             __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
             __builtin_cpu_supports("avx512vl");
    case CpuIsa::kAvx512Vnni:
      return is_supported(CpuIsa::kAvx512) && __builtin_cpu_supports("avx512vnni");
  }
#endif
  return isa == CpuIsa::kPortable;
}

CpuIsa best_cpu_isa() {
  static const CpuIsa best = detect_cpu_isa();
  return best;
}

namespace cpu {

void check_supported(CpuIsa isa) {
  NIBBLE_CHECK(is_supported(isa), "CPU kernels for ", name_of(isa),
               " are not supported by this machine or this build");
}

}  // namespace cpu
}  // namespace nibble::kernels
