#pragma once

#include <nibble/core/host_device.h>

#include <cstdint>

namespace nibble::kernels::cuda {

/// Division of many numbers below 2^31 by one divisor that the host knows: a product and a shift
/// instead of twenty instructions. With s = ceil(log2(divisor)) the multiplier is 2^(31 + s) /
/// divisor, rounded up: its error, below 2^s / divisor a number, cannot reach the next quotient.
class Divider {
 public:
  explicit Divider(uint32_t divisor) {
    while ((uint64_t{1} << (shift_ - 31)) < divisor) ++shift_;
    multiplier_ = static_cast<uint32_t>(((uint64_t{1} << shift_) + divisor - 1) / divisor);
  }
  NIBBLE_HD uint32_t quotient(uint32_t dividend) const {
    return static_cast<uint32_t>(uint64_t{dividend} * multiplier_ >> shift_);
  }

 private:
  uint32_t multiplier_;
  uint32_t shift_ = 31;
};

}  // namespace nibble::kernels::cuda
