#pragma once

#include "../../grid_dispatch.h"
#include "int4_products.cuh"

/// Eight codes become eight values, in the order of the columns.
namespace nibble::kernels::cuda {

/// The values of consecutive columns whose codes are the nibbles of `codes`, with the bits of
/// dequantize_cuda().
template <class T, class S, class Grid>
__device__ __forceinline__ uint4 octet_values(const Grid& grid, uint32_t codes) {
  // Byte i holds columns 2 i and 2 i + 1: it goes to the lower half, shifted to the upper one.
  const uint32_t odd = codes >> 4;
  return make_uint4(value_pair<T, S>(grid, __byte_perm(codes, odd, 0x4400)),
                    value_pair<T, S>(grid, __byte_perm(codes, odd, 0x5511)),
                    value_pair<T, S>(grid, __byte_perm(codes, odd, 0x6622)),
                    value_pair<T, S>(grid, __byte_perm(codes, odd, 0x7733)));
}

/// The grid of group `group` of all groups of a weight. On a symmetric grid `zeros` is not read.
template <class S, class Grid>
__device__ __forceinline__ Grid grid_of_group(const void* scales, const void* zeros,
                                              uint32_t group) {
  const float scale = static_cast<float>(static_cast<const S*>(scales)[group]);
  const float zero =
      Grid::kIsSymmetric ? 0.0f : static_cast<float>(static_cast<const S*>(zeros)[group]);
  return restore_grid(Tag<Grid>{}, scale, zero);
}

}  // namespace nibble::kernels::cuda
