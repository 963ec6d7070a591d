#pragma once

#include <nibble/core/error.h>
#include <nibble/kernels/quantized_linear.h>

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>

#include "fake_quant_calls.h"
#include "product.h"

namespace nibble::ops {

/// The operands as the kernels want them, contiguous.
struct Int4Operands {
  at::Tensor input;
  at::Tensor codes;
  at::Tensor scales;
  at::Tensor zeros;
  kernels::QuantizedLinearParams params;

  Int4Operands(const at::Tensor& x, const at::Tensor& packed, const at::Tensor& weight_scales,
               const std::optional<at::Tensor>& weight_zeros, bool symmetric)
      : input(x.contiguous()), codes(packed.contiguous()), scales(weight_scales.contiguous()) {
    NIBBLE_CHECK(x.dim() >= 1, "a quantized Linear takes inputs [..., in_features], got a scalar");
    const int64_t in = x.size(-1), out = packed.size(0);
    check_packed(packed, in);
    const auto how = check_parameters({out, in}, weight_scales, weight_zeros, symmetric);
    if (!symmetric) zeros = weight_zeros->contiguous();
    params.weight = weight_matrix({out, in}, x.scalar_type(), how);
    params.packed_codes = codes.const_data_ptr<uint8_t>();
    params.scales = scales.const_data_ptr();
    params.zeros = symmetric ? nullptr : zeros.const_data_ptr();
    params.weight_is_fresh = !codes.is_same(packed) || !scales.is_same(weight_scales) ||
                             (!symmetric && !zeros.is_same(*weight_zeros));
    params.tokens = in == 0 ? 0 : x.numel() / in;
    params.input = input.const_data_ptr();
  }

  /// [..., out], what `params` write.
  at::Tensor make_output() {
    at::Tensor output = empty_product(input, params.weight.rows, input.scalar_type());
    params.output = output.mutable_data_ptr();
    return output;
  }
};

}  // namespace nibble::ops
