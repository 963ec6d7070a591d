#include <nibble/core/error.h>
#include <nibble/nn/quantization_spec.h>

namespace nibble::nn {
namespace {

bool is_scale_dtype(at::ScalarType dtype) {
  return dtype == at::kFloat || dtype == at::kBFloat16 || dtype == at::kHalf;
}

}  // namespace

std::string_view to_string(Scheme scheme) { return scheme == Scheme::k8da4w ? "8da4w" : "4w"; }

Scheme scheme_from_string(std::string_view name) {
  if (name == "8da4w") return Scheme::k8da4w;
  if (name == "4w") return Scheme::k4w;
  fail("unknown quantization scheme '", name, "', allowed: 8da4w, 4w");
}

std::string to_string(const QuantizationSpec& spec) {
  return detail::concat(to_string(spec.scheme), " group ", spec.group_size,
                        spec.grid == WeightGrid::kSymmetric ? " symmetric, " : " asymmetric, ",
                        c10::toString(spec.scale_dtype), " scales");
}

QuantizationSpec check_spec(QuantizationSpec spec, int64_t in_features) {
  if (spec.group_size == kPerChannel) spec.group_size = in_features;
  NIBBLE_CHECK(spec.group_size > 0,
               "group size must be a positive integer or -1 (per channel), got ", spec.group_size);
  NIBBLE_CHECK(in_features > 0 && in_features % spec.group_size == 0, "group size ",
               spec.group_size, " does not divide in_features ", in_features);
  NIBBLE_CHECK(is_scale_dtype(spec.scale_dtype), "scales are Float, BFloat16 or Half, got ",
               c10::toString(spec.scale_dtype));
  if (spec.grid == WeightGrid::kAsymmetric) {
    NIBBLE_CHECK(spec.scheme == Scheme::k4w, "8da4w has the symmetric weight grid only");
    NIBBLE_CHECK(spec.scale_dtype == at::kBFloat16,
                 "the asymmetric 4w grid keeps its scales in BFloat16, got ",
                 c10::toString(spec.scale_dtype));
  }
  return spec;
}

}  // namespace nibble::nn
