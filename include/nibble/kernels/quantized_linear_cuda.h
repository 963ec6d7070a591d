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

/// A token's input as add_rms_norm_cuda() makes it. All of it has the dtype and the columns of the
/// products.
struct InputNorm {
  const void* residual = nullptr;
  const void* update = nullptr;  ///< null: none
  const void* weight = nullptr;
  float eps = 0;
  void* sum = nullptr;  ///< gets residual + update, where there is one; is neither of the two
};

/// A token's input as gated_silu_cuda() makes it, the same.
struct InputGate {
  const void* gate = nullptr;
  const void* up = nullptr;
};

/// Where products of one token get their input from: one of the two, or without a weight and a gate
/// from `input`.
struct TokenSource {
  InputNorm norm = {};
  InputGate gate = {};

  bool is_given() const { return norm.weight != nullptr || gate.gate != nullptr; }
};

/// Whether quantized_linears_cuda() takes them from there: products of one token that it takes,
/// addresses aligned to 16 bytes, and shared memory for the input, with a norm for two.
bool can_run_quantized_linears(const TokenSource& source, const QuantizedLinearParams* params,
                               int64_t count);

/// The products of an input that is made in their launch, by every block itself; theirs is ignored.
/// A norm's weight is read when those of the products are (quantized_linear_cuda).
void quantized_linears_cuda(const TokenSource& source, const QuantizedLinearParams* params,
                            int64_t count, CUstream_st* stream);

}  // namespace nibble::kernels
