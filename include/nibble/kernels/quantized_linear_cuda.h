#pragma once

#include <nibble/kernels/quantized_linear.h>

struct CUstream_st;

namespace nibble::kernels {

/// Whether quantized_linear_cuda() takes them on the current device: an int4 grid, bfloat16 or
/// float16, group size a multiple of 32, buffers aligned to 16 bytes, and up to 16 tokens of fewer
/// than 2^28 columns where the scales and zeros of 16 rows fit into shared memory (on an H200 those
/// of 2,200 groups a row in bfloat16), on sm_90 (H100, H200) up to 2,048 tokens. For more it is
/// faster to dequantize the weight and multiply.
bool can_run_quantized_linear(const QuantizedLinearParams& params);

/// On the current CUDA device; returns once the work is queued on `stream`. Up to 16 tokens, groups
/// of a multiple of 128 columns have their sums scaled (quantized_linear.h).
///
/// On sm_90 codes, scales and zeros are read while kernels before this one on the stream may still
/// run, or what they wrote is not visible yet; the input is read after them. So whatever wrote the
/// weight must have ended, as the host knows from an event or a synchronisation, or an ordinary
/// kernel or copy lies between. Else set `weight_is_fresh`: then the weight is read after them too,
/// which takes up to 1.7 times as long.
///
/// Throws Error for parameters that it does not take, when the launch fails and, in a build without
/// CUDA, always.
void quantized_linear_cuda(const QuantizedLinearParams& params, CUstream_st* stream);

/// At most so many weights in one launch.
inline constexpr int64_t kMostSharedProducts = 3;

/// Whether quantized_linears_cuda() takes them: one to kMostSharedProducts that each
/// quantized_linear_cuda() takes and that differ in rows, codes, scales, zeros and output alone.
bool can_run_quantized_linears(const QuantizedLinearParams* params, int64_t count);

/// The same for several weights (q, k and v; gate and up) in one launch.
void quantized_linears_cuda(const QuantizedLinearParams* params, int64_t count,
                            CUstream_st* stream);

}  // namespace nibble::kernels
