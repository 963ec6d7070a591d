#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace nibble::ops {

/// `sums`[i] += `values`[i] for the elements [begin, end) of two contiguous vectors of one floating
/// point type, rounded as LibTorch's add does. Without tensor operations: for parallel regions.
void add_range(const at::Tensor& sums, const at::Tensor& values, int64_t begin, int64_t end);

}  // namespace nibble::ops
