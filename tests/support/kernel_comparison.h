#pragma once

#include <nibble/core/error.h>

#include <cstdint>
#include <string>
#include <vector>

#include "support/kernel_set.h"

/// Two implementations of the kernels on the same random matrices, bitwise (NaN equals NaN). Free
/// of any test framework, so that the GPU program runs the same comparison.
namespace nibble::tests {

/// How the elements of a matrix are drawn.
enum class Values : uint8_t {
  kNormal,   ///< N(0, 1) times a power of two of the row
  kRawBits,  ///< any finite bit pattern: subnormals, huge values
  kHalves,   ///< small multiples of 0.5: ties
  kSpecial,  ///< zeros of both signs, infinities, NaN, subnormals among normal ones
  kTiny,     ///< about 1e-6 and zeros: the inverse of a float16 scale is infinite
};

struct ComparisonShape {
  int64_t rows;
  int64_t cols;
  int64_t group_size;
  int64_t row_padding = 0;  ///< elements between the rows of the input
  bool misaligned = false;  ///< every buffer starts one element after an aligned address
};

struct ComparisonResult {
  int64_t values = 0;                 ///< compared
  std::vector<std::string> failures;  ///< one line an output that differs
};

/// All grids, dtypes, scale dtypes and output dtypes on one shape and kind of values.
/// per-token activations: group_size == cols.
ComparisonResult compare_kernels(const KernelSet& expected, const KernelSet& actual,
                                 const ComparisonShape& shape, Values values, uint64_t seed);

/// Shapes with odd sizes, tails, groups that begin inside a byte of the mask, and empty matrices.
const std::vector<ComparisonShape>& comparison_shapes();

}  // namespace nibble::tests
