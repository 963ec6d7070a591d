#pragma once

#include <nibble/nn/linear.h>

namespace nibble::nn {

/// A Linear born fake-quantized: what prepare() puts where a plain torch::nn::Linear was.
class FakeQuantLinearImpl : public LinearImpl {
 public:
  FakeQuantLinearImpl(const torch::nn::LinearOptions& linear_options, const QuantizationSpec& spec)
      : LinearImpl(linear_options) {
    prepare(spec);
  }
  /// Takes over existing parameters: `weight` [out, in], `bias` [out] or undefined.
  FakeQuantLinearImpl(torch::Tensor existing_weight, torch::Tensor existing_bias,
                      const QuantizationSpec& spec)
      : LinearImpl(std::move(existing_weight), std::move(existing_bias)) {
    prepare(spec);
  }
};
TORCH_MODULE(FakeQuantLinear);

/// A Linear of int4 codes and scales: what convert() puts where a FakeQuantLinear was.
class QuantizedLinearImpl : public LinearImpl {
 public:
  /// Takes over the buffers and the bias of `source`, which must be in state kQuantized.
  explicit QuantizedLinearImpl(const LinearImpl& source) : LinearImpl(source) {}
};
TORCH_MODULE(QuantizedLinear);

}  // namespace nibble::nn
