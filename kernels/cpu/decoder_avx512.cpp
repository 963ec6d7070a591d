#include "decoder_simd.h"
#include "simd_avx512.h"
#include "single_query_attention_simd.h"

namespace nibble::kernels::cpu {

const DecoderKernels kAvx512Decoder = {rms_norm<Avx512>, swiglu<Avx512>, rotate<Avx512>,
                                       single_query_attention<Avx512>};

}  // namespace nibble::kernels::cpu
