#pragma once

#include <nibble/kernels/quantized_linear_cuda.h>

#include <cuda_runtime.h>

namespace nibble::kernels::cuda {

constexpr int64_t kMostTileTokens = 64;

/// quantized_linear_cuda() for up to kMostTileTokens tokens: the weight's values are made once for
/// several of a tensor core's token tiles.
void quantized_linear_tiles(const QuantizedLinearParams& params, cudaStream_t stream);

}  // namespace nibble::kernels::cuda
