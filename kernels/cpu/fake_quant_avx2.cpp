#include "fake_quant_simd.h"
#include "simd_avx2.h"

namespace nibble::kernels::cpu {

const CpuKernels kAvx2Kernels = simd_kernels<Unrolled<Avx2, 2>>();

}  // namespace nibble::kernels::cpu
