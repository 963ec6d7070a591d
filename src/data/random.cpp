#include <nibble/data/random.h>

#include <numeric>
#include <utility>

namespace nibble::data {

std::vector<size_t> permutation(size_t size, uint64_t seed, uint64_t stream) {
  std::vector<size_t> order(size);
  std::iota(order.begin(), order.end(), size_t{0});
  SplitMix64 random(SplitMix64(seed).next() ^ stream);
  for (size_t last = size; last > 1; --last) {
    std::swap(order[last - 1], order[random.below(last)]);
  }
  return order;
}

}  // namespace nibble::data
