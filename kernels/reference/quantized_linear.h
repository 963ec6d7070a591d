#pragma once

#include <nibble/kernels/quantized_linear.h>

/// The formula of kernels/quantized_linear.h as plain loops: what runs where no instruction set has
/// a kernel.
namespace nibble::kernels::reference {

void quantized_linear(const QuantizedLinearParams& params, int64_t row_begin, int64_t row_end,
                      void* scratch);

}  // namespace nibble::kernels::reference
