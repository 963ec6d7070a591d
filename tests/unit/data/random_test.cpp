#include <nibble/data/random.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

namespace nibble::data {
namespace {

// Published outputs of SplitMix64 for seed 1234567 (Rosetta Code, from Vigna's splitmix64.c).
TEST(SplitMix64, MatchesPublishedSequence) {
  SplitMix64 random(1234567);
  EXPECT_EQ(random.next(), 6457827717110365317u);
  EXPECT_EQ(random.next(), 3203168211198807973u);
  EXPECT_EQ(random.next(), 9817491932198370423u);
  EXPECT_EQ(random.next(), 4593380528125082431u);
  EXPECT_EQ(random.next(), 16408922859458223821u);
}

TEST(SplitMix64, BelowStaysInRangeAndReachesEveryValue) {
  SplitMix64 random(7);
  std::vector<int> counts(5);
  for (int i = 0; i < 5000; ++i) {
    const uint64_t value = random.below(5);
    ASSERT_LT(value, 5u);
    ++counts[value];
  }
  EXPECT_GT(*std::min_element(counts.begin(), counts.end()), 850);
}

TEST(Permutation, HoldsEveryNumberOnce) {
  std::vector<size_t> order = permutation(1000, 3, 9);
  EXPECT_FALSE(std::is_sorted(order.begin(), order.end()));
  std::sort(order.begin(), order.end());
  std::vector<size_t> all(1000);
  std::iota(all.begin(), all.end(), size_t{0});
  EXPECT_EQ(order, all);
}

TEST(Permutation, DependsOnSeedAndStreamOnly) {
  EXPECT_EQ(permutation(50, 1, 2), permutation(50, 1, 2));
  EXPECT_NE(permutation(50, 1, 2), permutation(50, 1, 3));
  EXPECT_NE(permutation(50, 1, 2), permutation(50, 2, 2));
  EXPECT_NE(permutation(50, 1, 2), permutation(50, 2, 1));
}

// Recorded runs resume by this order: it must never change. Computed apart, in Python.
TEST(Permutation, IsStable) {
  EXPECT_THAT(permutation(8, 42, 0), ::testing::ElementsAre(3, 6, 0, 7, 1, 2, 5, 4));
  EXPECT_THAT(permutation(8, 42, 1), ::testing::ElementsAre(4, 0, 1, 7, 3, 6, 2, 5));
}

}  // namespace
}  // namespace nibble::data
