#pragma once

#include <nibble/nn/quantization_spec.h>

#include <ATen/core/Tensor.h>

#include <optional>

namespace nibble::nn {

inline bool is_symmetric(const QuantizationSpec& spec) {
  return spec.grid == WeightGrid::kSymmetric;
}

/// As operators take what may be left out.
inline std::optional<at::Tensor> optional(const at::Tensor& tensor) {
  return tensor.defined() ? std::optional(tensor) : std::nullopt;
}

}  // namespace nibble::nn
