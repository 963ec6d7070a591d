#pragma once

#include <nibble/kernels/int8_weight_linear.h>

/// The formula of kernels/int8_weight_linear.h as plain loops: what runs where no instruction set
/// has a kernel.
namespace nibble::kernels::reference {

void int8_weight_linear(const Int8WeightLinearParams& params, int64_t row_begin, int64_t row_end,
                        void* scratch);

}  // namespace nibble::kernels::reference
