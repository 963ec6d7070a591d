#pragma once

#include <nibble/kernels/decoder.h>
#include <nibble/kernels/fake_quant.h>
#include <nibble/kernels/int8_linear.h>
#include <nibble/kernels/int8_weight_linear.h>
#include <nibble/kernels/quantized_linear.h>

#include <string_view>

namespace nibble::kernels {

/// Instruction sets with kernels of their own, worst first; each includes those before it. Where a
/// kernel has no version for one, it runs that of the best one before it.
enum class CpuIsa : uint8_t {
  kPortable,
  kAvx2,        ///< with FMA and F16C
  kAvx512,      ///< F, BW, DQ, VL
  kAvx512Vnni,  ///< integer dot products
};

inline constexpr CpuIsa kAllCpuIsas[] = {CpuIsa::kPortable, CpuIsa::kAvx2, CpuIsa::kAvx512,
                                         CpuIsa::kAvx512Vnni};

std::string_view name_of(CpuIsa isa);

/// Whether this machine runs it and this build has it.
bool is_supported(CpuIsa isa);

/// The best supported one; asked of the processor once.
CpuIsa best_cpu_isa();

/// As in the headers of the kernels, with the instruction set given: for tests and benchmarks.
/// Throws Error for one that is not supported.
void fake_quantize_cpu(const FakeQuantParams& params, int64_t row_begin, int64_t row_end,
                       CpuIsa isa);
void fake_quantize_backward_cpu(const FakeQuantBackwardParams& params, int64_t row_begin,
                                int64_t row_end, CpuIsa isa);
void dequantize_cpu(const DequantizeParams& params, int64_t row_begin, int64_t row_end, CpuIsa isa);
void arrange_int8_activations_cpu(const Int8ActivationParams& params, int64_t token_begin,
                                  int64_t token_end, CpuIsa isa);
void int8_linear_cpu(const Int8LinearParams& params, int64_t row_begin, int64_t row_end,
                     void* scratch, CpuIsa isa);
void int8_weight_linear_cpu(const Int8WeightLinearParams& params, int64_t row_begin,
                            int64_t row_end, void* scratch, CpuIsa isa);
void rms_norm_cpu(const RmsNormParams& params, int64_t row_begin, int64_t row_end, CpuIsa isa);
void swiglu_cpu(const SwigluParams& params, int64_t begin, int64_t end, CpuIsa isa);
void rotate_cpu(const RotaryParams& params, int64_t token_begin, int64_t token_end, CpuIsa isa);
void single_query_attention_cpu(const SingleQueryAttentionParams& params, int64_t begin,
                                int64_t end, void* scratch, CpuIsa isa);
void quantized_linear_cpu(const QuantizedLinearParams& params, int64_t row_begin, int64_t row_end,
                          void* scratch, CpuIsa isa);

}  // namespace nibble::kernels
