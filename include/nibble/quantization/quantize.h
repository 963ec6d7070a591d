#pragma once

#include <nibble/quantization/quantizer.h>

namespace nibble {

/// What quantize_() does to every Linear.
struct QuantizeConfig {
  nn::QuantizationSpec spec;
  SwapOptions options;
};

/// The configurations of torchao.quantization that the QAT schemes deploy to. `group_size` may be
/// nn::kPerChannel.
QuantizeConfig int8_dynamic_activation_int4_weight(int64_t group_size = 32,
                                                   at::ScalarType scale_dtype = at::kFloat);
QuantizeConfig int4_weight_only(int64_t group_size = 128,
                                nn::WeightGrid grid = nn::WeightGrid::kAsymmetric,
                                at::ScalarType scale_dtype = at::kBFloat16);

/// Post-training quantization, in place: the Linears of a trained full-precision model become int4.
/// The result equals prepare() and convert() of the matching quantizer; rules and errors are
/// theirs, but a NaN or an infinity in any Linear, also in one that stays, is refused first: on an
/// Error the model is untouched.
QuantizationReport quantize_(torch::nn::Module& model, const QuantizeConfig& config);

template <class Impl>
QuantizationReport quantize_(const torch::nn::ModuleHolder<Impl>& model,
                             const QuantizeConfig& config) {
  return quantize_(*model.ptr(), config);
}
template <class Impl>
QuantizationReport quantize_(const std::shared_ptr<Impl>& model, const QuantizeConfig& config) {
  return quantize_(*model, config);
}

}  // namespace nibble
