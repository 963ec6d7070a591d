#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "support/kernel_set.h"

/// The golden vectors of TorchAO (README.md) against the kernels. Free of any test framework, so
/// that the GPU program runs the same comparison.
namespace nibble::tests {

struct GoldenResult {
  int64_t files = 0;
  int64_t values = 0;                 ///< compared
  std::vector<std::string> failures;  ///< one line a tensor that differs or a file that is unusable
};

/// Compares every "exact" tensor of every *.safetensors in `folder`, bitwise.
GoldenResult check_golden(const std::filesystem::path& folder, const KernelSet& kernels);

}  // namespace nibble::tests
