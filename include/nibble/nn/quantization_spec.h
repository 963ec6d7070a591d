#pragma once

#include <c10/core/ScalarType.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace nibble::nn {

/// TorchAO's names for what is quantized.
enum class Scheme {
  k8da4w,  ///< int8 dynamic per-token activations, int4 grouped weights
  k4w,     ///< int4 grouped weights only
};

/// The int4 grid of the weights (numerics/grids.h).
enum class WeightGrid {
  kSymmetric,   ///< code * scale, codes -8..7; 8da4w has no other
  kAsymmetric,  ///< TorchAO's tinygemm grid: (code - 8) * scale + zero, codes 0..15, bfloat16
                ///< scales
};

/// A group size of kPerChannel gives each output row one scale.
inline constexpr int64_t kPerChannel = -1;

/// How one Linear is quantized.
struct QuantizationSpec {
  Scheme scheme = Scheme::k8da4w;
  int64_t group_size = 128;  ///< consecutive in_features that share a scale, or kPerChannel
  at::ScalarType scale_dtype = at::kBFloat16;
  WeightGrid grid = WeightGrid::kSymmetric;

  bool quantizes_activations() const { return scheme == Scheme::k8da4w; }
  bool operator==(const QuantizationSpec&) const = default;
};

/// "8da4w" or "4w".
std::string_view to_string(Scheme scheme);
/// Throws Error for any other name.
Scheme scheme_from_string(std::string_view name);
/// For example "8da4w group 128 symmetric, BFloat16 scales".
std::string to_string(const QuantizationSpec& spec);
/// Throws Error that says why `spec` cannot quantize a [*, in_features] weight: the group size does
/// not divide, a grid or scale dtype that does not exist.
/// Returns `spec` with kPerChannel resolved to `in_features`.
QuantizationSpec check_spec(QuantizationSpec spec, int64_t in_features);

}  // namespace nibble::nn
