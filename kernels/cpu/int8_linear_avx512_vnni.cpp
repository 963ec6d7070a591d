#include "int8_avx512_vnni.h"
#include "int8_linear_simd.h"

namespace nibble::kernels::cpu {

const Int8LinearKernels kAvx512VnniInt8Linear = int8_linear_kernels<Int8Avx512Vnni>();

}  // namespace nibble::kernels::cpu
