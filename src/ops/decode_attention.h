#pragma once

#include <nibble/ops/decode.h>

namespace nibble::ops {

/// Throws Error unless the tensors have the shapes and dtypes that DecodeAttention tells.
void check_decode_attention(const DecodeAttention& inputs);
/// Throws Error unless the cache has a place at `position`.
void check_position(const DecodeAttention& inputs, int64_t position);

}  // namespace nibble::ops
