#pragma once

#include <nibble/kernels/fake_quant.h>

/// The executable specification: one plain loop over the formulas of numerics/grids.h. Every other
/// kernel must give the same bits.
namespace nibble::kernels::reference {

void fake_quantize(const FakeQuantParams& params, int64_t row_begin, int64_t row_end);
void fake_quantize_backward(const FakeQuantBackwardParams& params, int64_t row_begin,
                            int64_t row_end);
void dequantize(const DequantizeParams& params, int64_t row_begin, int64_t row_end);

}  // namespace nibble::kernels::reference
