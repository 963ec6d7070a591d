#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace nibble::data {

/// SplitMix64: one 64-bit word of state, the same sequence on every platform and compiler. The
/// order of training rows depends on it, so it never changes. Source: Steele, Lea, Flood, "Fast
/// splittable pseudorandom number generators", 2014.
class SplitMix64 {
 public:
  explicit SplitMix64(uint64_t seed) : state_(seed) {}

  uint64_t next() {
    uint64_t z = (state_ += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }

  /// Uniform in [0, bound), bound > 0: draws again below 2^64 mod bound, so no value is favoured.
  uint64_t below(uint64_t bound) {
    const uint64_t threshold = (0 - bound) % bound;
    for (;;) {
      const uint64_t draw = next();
      if (draw >= threshold) return draw % bound;
    }
  }

 private:
  uint64_t state_;
};

/// The numbers 0..size-1 in an order that `seed` and `stream` (an epoch, say) determine:
/// Fisher-Yates from the last element down, drawing from SplitMix64(first word of SplitMix64(seed)
/// ^ stream).
std::vector<size_t> permutation(size_t size, uint64_t seed, uint64_t stream = 0);

}  // namespace nibble::data
