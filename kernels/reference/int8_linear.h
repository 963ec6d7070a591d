#pragma once

#include <nibble/kernels/int8_linear.h>

/// The formula of kernels/int8_linear.h as plain loops: what runs where no instruction set has a
/// kernel, and what the others must equal bit for bit.
namespace nibble::kernels::reference {

void arrange_int8_activations(const Int8ActivationParams& params, int64_t token_begin,
                              int64_t token_end);
void int8_linear(const Int8LinearParams& params, int64_t row_begin, int64_t row_end, void* scratch);

}  // namespace nibble::kernels::reference
