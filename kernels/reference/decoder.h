#pragma once

#include <nibble/kernels/decoder.h>

/// The loops of kernels/decoder.h for any processor.
namespace nibble::kernels::reference {

void rms_norm(const RmsNormParams& params, int64_t row_begin, int64_t row_end);
void swiglu(const SwigluParams& params, int64_t begin, int64_t end);
void rotate(const RotaryParams& params, int64_t token_begin, int64_t token_end);
void single_query_attention(const SingleQueryAttentionParams& params, int64_t begin, int64_t end,
                            void* scratch);

}  // namespace nibble::kernels::reference
