#pragma once

#include <string>
#include <vector>

namespace nibble::tests {

struct QuantizedLinearResult {
  int64_t outputs = 0;
  std::vector<std::string> failures;
};

/// quantized_linear_cuda() against sums in double of the CPU's dequantized values, which are exact:
/// what may differ is the order of the sum in float32 and one rounding. All grids and dtypes that
/// it takes, tails in every dimension. With `small_only`, for a memory checker, fewer tokens.
QuantizedLinearResult check_quantized_linear(bool small_only);

}  // namespace nibble::tests
