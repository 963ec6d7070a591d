#pragma once

#include <nibble/kernels/quantized_linear_cuda.h>

#include <cuda_runtime.h>

namespace nibble::kernels::cuda {

/// Whether the current device has the tensor cores that quantized_linear_warpgroups() needs, those
/// of sm_90, which no other architecture contains, this build the code for them (sm_90a), and the
/// tokens are few enough that dequantizing the weight first is not faster.
bool can_run_warpgroups(const QuantizedLinearParams& params);

/// quantized_linear_cuda() for more than a few tokens.
void quantized_linear_warpgroups(const QuantizedLinearParams& params, cudaStream_t stream);

}  // namespace nibble::kernels::cuda
