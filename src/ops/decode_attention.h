#pragma once

#include <nibble/ops/decode.h>

namespace nibble::ops {

/// Throws Error unless the tensors have the shapes and dtypes that DecodeAttention tells.
void check_decode_attention(const DecodeAttention& inputs);

}  // namespace nibble::ops
