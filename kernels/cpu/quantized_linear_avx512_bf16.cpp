#include "lookup_avx512_bf16.h"
#include "quantized_linear_simd.h"

namespace nibble::kernels::cpu {

const QuantizedLinearKernel kAvx512Bf16QuantizedLinear = quantized_linear<LookupAvx512Bf16>;

}  // namespace nibble::kernels::cpu
