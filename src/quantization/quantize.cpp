#include <nibble/core/error.h>
#include <nibble/nn/swap.h>
#include <nibble/quantization/quantize.h>

#include <torch/torch.h>

namespace nibble {
namespace {

/// What convert() would refuse after prepare() had changed the model.
void check_finite_weights(torch::nn::Module& model) {
  for (const nn::LinearSite& site : nn::find_linears(model)) nn::check_finite_weight(site);
  const auto* root = dynamic_cast<const nn::LinearImpl*>(&model);
  NIBBLE_CHECK(
      root == nullptr || !root->weight.defined() || root->weight.isfinite().all().item<bool>(),
      "the weight holds NaN or infinite values, which no int4 code stands for");
}

}  // namespace

QuantizeConfig int8_dynamic_activation_int4_weight(int64_t group_size, at::ScalarType scale_dtype) {
  return {{nn::Scheme::k8da4w, group_size, scale_dtype, nn::WeightGrid::kSymmetric}, {}};
}

QuantizeConfig int4_weight_only(int64_t group_size, nn::WeightGrid grid,
                                at::ScalarType scale_dtype) {
  return {{nn::Scheme::k4w, group_size, scale_dtype, grid}, {}};
}

QuantizationReport quantize_(torch::nn::Module& model, const QuantizeConfig& config) {
  check_finite_weights(model);
  const SpecQATQuantizer quantizer(config.spec, config.options);
  QuantizationReport report = quantizer.prepare(model);
  quantizer.convert(model);
  return report;
}

}  // namespace nibble
