#pragma once

#include <nibble/kernels/int8_weight_linear.h>

struct CUstream_st;

namespace nibble::kernels {

/// Whether int8_weight_linear_cuda() takes them: up to 4 tokens, groups of a multiple of 16 columns,
/// codes and input aligned to 16 bytes.
bool can_run_int8_weight_linear(const Int8WeightLinearParams& params);

/// int8_weight_linear.h on the current CUDA device; returns once the work is queued on `stream`.
/// Throws Error for parameters that it does not take, when the launch fails and, in a build without
/// CUDA, always.
void int8_weight_linear_cuda(const Int8WeightLinearParams& params, CUstream_st* stream);

}  // namespace nibble::kernels
