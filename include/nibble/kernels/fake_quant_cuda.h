#pragma once

#include <nibble/kernels/fake_quant.h>

struct CUstream_st;

namespace nibble::kernels {

/// The kernels of fake_quant.h on the current CUDA device: all pointers are device memory, all rows
/// are processed, the call returns once the work is queued on `stream` (a cudaStream_t). The bits
/// are those of the CPU kernels. Groups that are a multiple of 8 long, with rows and buffers
/// aligned to 16 bytes, run at the speed of memory; everything else is allowed.
/// Throws Error when a launch fails and, in a build without CUDA, always.
void fake_quantize_cuda(const FakeQuantParams& params, CUstream_st* stream);
void fake_quantize_backward_cuda(const FakeQuantBackwardParams& params, CUstream_st* stream);
void dequantize_cuda(const DequantizeParams& params, CUstream_st* stream);

}  // namespace nibble::kernels
