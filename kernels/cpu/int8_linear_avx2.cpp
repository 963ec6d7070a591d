#include "int8_avx2.h"
#include "int8_linear_simd.h"

namespace nibble::kernels::cpu {

const Int8LinearKernels kAvx2Int8Linear = int8_linear_kernels<Int8Avx2>();

}  // namespace nibble::kernels::cpu
