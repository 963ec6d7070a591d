#pragma once

#include <nibble/numerics/float_types.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace nibble::io {

/// Elements of a Q4_0 or Q8_0 block.
inline constexpr int64_t kGgmlBlock = 32;

/// int4 codes -8..7 as Q4_0: `scales[i]` belongs to codes [32 i, 32 i + 32). A block is its scale
/// and 16 bytes; byte j holds code j + 8 in the low nibble and code j + 16 + 8 in the high one.
std::vector<std::byte> encode_q4_0(std::span<const int8_t> codes,
                                   std::span<const numerics::Float16> scales);

/// int8 codes as Q8_0: `scales[i]` belongs to codes [32 i, 32 i + 32).
std::vector<std::byte> encode_q8_0(std::span<const int8_t> codes,
                                   std::span<const numerics::Float16> scales);

/// Values rounded to Q8_0 as ggml rounds them: scale max|w| / 127 in binary16, code w / scale with
/// the unrounded scale, halves away from zero. Source: ggml-quants.c, quantize_row_q8_0_ref.
std::vector<std::byte> quantize_q8_0(std::span<const float> values);

}  // namespace nibble::io
