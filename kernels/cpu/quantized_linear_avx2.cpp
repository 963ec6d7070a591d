#include "nibbles_avx2.h"
#include "quantized_linear_simd.h"

namespace nibble::kernels::cpu {

const QuantizedLinearKernel kAvx2QuantizedLinear = quantized_linear<NibblesAvx2>;

}  // namespace nibble::kernels::cpu
