#pragma once

#include <nibble/core/host_device.h>

#include <cstdint>

namespace nibble::kernels::cpu {

inline constexpr int64_t kCacheLine = 64;

/// Asks for the cache line at `address`, which a product reads later, down to the second-level
/// cache (there are more such requests at a time than for the first): weights come from memory, and
/// the hardware reads ahead within a page and within one of several streams only.
NIBBLE_HD void prefetch_weights(const void* address) { __builtin_prefetch(address, 0, 2); }

/// How many bytes ahead to ask where a product reads its weights in the order of their addresses.
inline constexpr int64_t kWeightsAhead = 2048;

}  // namespace nibble::kernels::cpu
