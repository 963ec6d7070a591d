#pragma once

#include <nibble/kernels/quantized_linear_cuda.h>

#include <cuda_runtime.h>

namespace nibble::kernels::cuda {

/// Whether quantized_linears_stream() takes them: up to 16 tokens, with a source one, and the
/// scales and zeros of 16 rows fit into a block's shared memory.
bool can_run_stream(const QuantizedLinearParams& params, const TokenSource& source = {});

/// quantized_linears_cuda() for few tokens: the time is that of reading the weights.
void quantized_linears_stream(const QuantizedLinearParams* params, int64_t count,
                              const TokenSource& source, cudaStream_t stream);

}  // namespace nibble::kernels::cuda
