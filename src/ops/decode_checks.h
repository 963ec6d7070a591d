#pragma once

#include <nibble/core/error.h>

#include <ATen/core/Tensor.h>

#include <optional>

#include "product.h"

/// What the operators of decode.h ask of their arguments.
namespace nibble::ops {

inline void check_norm(const at::Tensor& residual, const std::optional<at::Tensor>& update,
                       const at::Tensor& weight) {
  NIBBLE_CHECK(residual.dim() >= 1 && residual.is_contiguous(),
               "residual must be contiguous [..., n], got ", residual.sizes());
  NIBBLE_CHECK(weight.dim() == 1 && weight.size(0) == residual.size(-1) &&
                   weight.scalar_type() == residual.scalar_type() &&
                   weight.device() == residual.device(),
               "weight must be ", residual.scalar_type(), " [", residual.size(-1), "] on ",
               residual.device(), ", got ", weight.scalar_type(), " ", weight.sizes(), " on ",
               weight.device());
  NIBBLE_CHECK(!is_given(update) || (update->sizes() == residual.sizes() &&
                                     update->scalar_type() == residual.scalar_type() &&
                                     update->device() == residual.device()),
               "update must be ", residual.scalar_type(), " ", residual.sizes(), " on ",
               residual.device(), " like residual");
}

inline void check_gate(const at::Tensor& gate, const at::Tensor& up) {
  NIBBLE_CHECK(gate.sizes() == up.sizes() && gate.scalar_type() == up.scalar_type() &&
                   gate.device() == up.device(),
               "gate is ", gate.scalar_type(), " ", gate.sizes(), " on ", gate.device(),
               ", up must be too; got ", up.scalar_type(), " ", up.sizes(), " on ", up.device());
}

}  // namespace nibble::ops
