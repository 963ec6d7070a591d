#pragma once

#include <nibble/nn/quantization_spec.h>

#include <cstdint>
#include <string>
#include <vector>

namespace nibble {

/// What a quantizer did with one Linear.
struct LayerReport {
  std::string path;
  int64_t in_features = 0;
  int64_t out_features = 0;
  bool swapped = false;
  /// Why it was skipped, or how it is quantized.
  std::string reason;
};

/// Every Linear of a model, swapped or skipped. Nothing is left out silently.
struct QuantizationReport {
  std::vector<LayerReport> layers;

  int64_t swapped() const;
  int64_t skipped() const;
  /// Share of the Linears' weights that is quantized, 0 to 1.
  double swapped_weight_fraction() const;
  /// One line a distinct (shape, outcome, reason), with counts and an example path.
  std::string to_string() const;
};

}  // namespace nibble
