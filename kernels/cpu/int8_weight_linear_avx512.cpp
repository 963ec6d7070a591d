#include "int8_weight_linear_simd.h"
#include "simd_avx512.h"

namespace nibble::kernels::cpu {

const Int8WeightLinearKernel kAvx512Int8WeightLinear = int8_weight_linear<Avx512>;

}  // namespace nibble::kernels::cpu
