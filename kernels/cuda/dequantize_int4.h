#pragma once

#include <nibble/kernels/fake_quant_cuda.h>

#include <cuda_runtime.h>

namespace nibble::kernels::cuda {

/// Whether dequantize_int4() takes them: packed codes, values in the matrix's dtype, bfloat16 or
/// float16, groups of a multiple of 8, aligned buffers.
bool can_dequantize_int4(const DequantizeParams& params);

/// dequantize_cuda() at the rate of memory.
void dequantize_int4(const DequantizeParams& params, cudaStream_t stream);

}  // namespace nibble::kernels::cuda
