#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace nibble::layouts {

/// The order in which tinygemm's CUDA kernel reads int4 codes: tiles of 8 rows and 128 columns, in
/// each the 32 lanes of a warp, for each lane 4 words of 8 codes.
/// Source: PyTorch 2.11, ATen/native/cuda/int4mm.cu, matrix_to_m16n8k16_Bint4_layout, 8 inner k
/// tiles.
inline constexpr int64_t kTileRows = 8;
inline constexpr int64_t kTileColumns = 128;

/// int8 codes 0..15 [rows, columns], whole tiles, to int32 [rows / 8, columns / 128, 32, 4].
at::Tensor pack_tiles(const at::Tensor& codes);
/// The inverse.
at::Tensor unpack_tiles(const at::Tensor& tiles);

}  // namespace nibble::layouts
