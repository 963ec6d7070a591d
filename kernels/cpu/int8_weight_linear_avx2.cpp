#include "int8_weight_linear_simd.h"
#include "simd_avx2.h"

namespace nibble::kernels::cpu {

const Int8WeightLinearKernel kAvx2Int8WeightLinear = int8_weight_linear<Avx2>;

}  // namespace nibble::kernels::cpu
