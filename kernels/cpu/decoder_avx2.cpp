#include "decoder_simd.h"
#include "simd_avx2.h"
#include "single_query_attention_simd.h"

namespace nibble::kernels::cpu {

const DecoderKernels kAvx2Decoder = {rms_norm<Avx2>, swiglu<Avx2>, rotate<Avx2>,
                                     single_query_attention<Avx2>};

}  // namespace nibble::kernels::cpu
