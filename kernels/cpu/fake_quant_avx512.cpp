#include "fake_quant_simd.h"
#include "simd_avx512.h"

namespace nibble::kernels::cpu {

const CpuKernels kAvx512Kernels = simd_kernels<Unrolled<Avx512, 2>>();

}  // namespace nibble::kernels::cpu
