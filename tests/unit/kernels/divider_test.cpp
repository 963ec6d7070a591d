#include "cuda/divider.h"

#include <gtest/gtest.h>

#include <random>

namespace nibble::kernels::cuda {
namespace {

constexpr uint32_t kEnd = uint32_t{1} << 31;

// A quotient can only be wrong beside a multiple of the divisor.
void expect_quotients_at_multiples(uint32_t divisor, uint32_t multiple) {
  const Divider divider(divisor);
  const uint64_t product = uint64_t{divisor} * multiple;
  for (const uint64_t dividend : {product, product + 1, product + divisor - 1, product - 1}) {
    if (dividend >= kEnd) continue;
    const auto n = static_cast<uint32_t>(dividend);
    ASSERT_EQ(divider.quotient(n), n / divisor) << n << " / " << divisor;
  }
}

TEST(Divider, EveryQuotientOfSmallDivisorsAtBothEnds) {
  for (uint32_t divisor = 1; divisor <= 5000; ++divisor) {
    const uint32_t last = (kEnd - 1) / divisor;
    for (uint32_t i = 0; i < 50 && i <= last; ++i) {
      expect_quotients_at_multiples(divisor, i);
      expect_quotients_at_multiples(divisor, last - i);
    }
  }
}

TEST(Divider, RandomDivisorsAndDividends) {
  std::mt19937 random(3);
  for (int i = 0; i < 200'000; ++i) {
    const uint32_t divisor = 1 + (random() % (kEnd - 1) >> random() % 31);
    expect_quotients_at_multiples(divisor, random() % ((kEnd - 1) / divisor + 1));
  }
  EXPECT_EQ(Divider(kEnd - 1).quotient(kEnd - 1), 1u);
}

}  // namespace
}  // namespace nibble::kernels::cuda
