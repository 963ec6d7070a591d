#pragma once

#include <nibble/kernels/fake_quant.h>

/// The kernels of one instruction set, each over rows [row_begin, row_end).
namespace nibble::kernels::cpu {

struct CpuKernels {
  void (*fake_quantize)(const FakeQuantParams& params, int64_t row_begin, int64_t row_end);
  void (*fake_quantize_backward)(const FakeQuantBackwardParams& params, int64_t row_begin,
                                 int64_t row_end);
  void (*dequantize)(const DequantizeParams& params, int64_t row_begin, int64_t row_end);
};

// Each lives in a file that is compiled for its instruction set.
extern const CpuKernels kAvx2Kernels;
extern const CpuKernels kAvx512Kernels;

}  // namespace nibble::kernels::cpu
