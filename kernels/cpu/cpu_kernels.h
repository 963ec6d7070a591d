#pragma once

#include <nibble/kernels/cpu_isa.h>
#include <nibble/kernels/decoder.h>
#include <nibble/kernels/fake_quant.h>
#include <nibble/kernels/int8_linear.h>
#include <nibble/kernels/int8_weight_linear.h>
#include <nibble/kernels/quantized_linear.h>

/// The kernels of one instruction set, each over rows [row_begin, row_end).
namespace nibble::kernels::cpu {

struct CpuKernels {
  void (*fake_quantize)(const FakeQuantParams& params, int64_t row_begin, int64_t row_end);
  void (*fake_quantize_backward)(const FakeQuantBackwardParams& params, int64_t row_begin,
                                 int64_t row_end);
  void (*dequantize)(const DequantizeParams& params, int64_t row_begin, int64_t row_end);
};

struct Int8LinearKernels {
  void (*arrange)(const Int8ActivationParams& params, int64_t token_begin, int64_t token_end);
  void (*multiply)(const Int8LinearParams& params, int64_t row_begin, int64_t row_end,
                   void* scratch);
};

struct DecoderKernels {
  void (*rms_norm)(const RmsNormParams& params, int64_t row_begin, int64_t row_end);
  void (*swiglu)(const SwigluParams& params, int64_t begin, int64_t end);
  void (*rotate)(const RotaryParams& params, int64_t token_begin, int64_t token_end);
  void (*single_query_attention)(const SingleQueryAttentionParams& params, int64_t begin,
                                 int64_t end, void* scratch);
};

using Int8WeightLinearKernel = void (*)(const Int8WeightLinearParams& params, int64_t row_begin,
                                        int64_t row_end, void* scratch);
using QuantizedLinearKernel = void (*)(const QuantizedLinearParams& params, int64_t row_begin,
                                       int64_t row_end, void* scratch);

// Each lives in a file that is compiled for its instruction set.
extern const CpuKernels kAvx2Kernels;
extern const CpuKernels kAvx512Kernels;
extern const DecoderKernels kAvx2Decoder;
extern const DecoderKernels kAvx512Decoder;
extern const Int8LinearKernels kAvx2Int8Linear;
extern const Int8LinearKernels kAvx512VnniInt8Linear;
extern const Int8WeightLinearKernel kAvx2Int8WeightLinear;
extern const Int8WeightLinearKernel kAvx512Int8WeightLinear;
extern const QuantizedLinearKernel kAvx2QuantizedLinear;
extern const QuantizedLinearKernel kAvx512QuantizedLinear;

/// Throws Error for one that this machine or this build does not have.
void check_supported(CpuIsa isa);

}  // namespace nibble::kernels::cpu
