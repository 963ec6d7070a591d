#include "decode_attention_simd.h"
#include "decoder_simd.h"
#include "simd_avx512.h"

namespace nibble::kernels::cpu {

const DecoderKernels kAvx512Decoder = {rms_norm<Avx512>, swiglu<Avx512>, rotate<Avx512>,
                                       decode_attention<Avx512>};

}  // namespace nibble::kernels::cpu
