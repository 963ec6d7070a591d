#include "nibbles_avx512.h"
#include "quantized_linear_simd.h"

namespace nibble::kernels::cpu {

const QuantizedLinearKernel kAvx512QuantizedLinear = quantized_linear<NibblesAvx512>;

}  // namespace nibble::kernels::cpu
