#include <nibble/numerics/grids.h>

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

namespace nibble::numerics {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr int kGroup = 32;

template <class Grid>
Grid choose(const std::vector<float>& group) {
  float lowest = group[0], highest = group[0];
  for (const float value : group) {
    lowest = nan_min(value, lowest);
    highest = nan_max(value, highest);
  }
  return Grid::choose(lowest, highest);
}

template <class Grid>
std::vector<float> fake_quantize(const Grid& grid, const std::vector<float>& group) {
  std::vector<float> result;
  for (const float value : group) result.push_back(grid.dequantize(quantize(grid, value).code));
  return result;
}

template <class D>
std::vector<float> random_group(uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0f, std::ldexp(1.0f, static_cast<int>(seed % 12) - 8));
  std::vector<float> group(kGroup);
  for (float& value : group) value = round_to<D>(normal(random));
  return group;
}

using testing::Types;
template <class Grid>
class EveryGrid : public testing::Test {};
using Grids = Types<SymmetricInt4<float, float>, SymmetricInt4<float, BFloat16>,
                    SymmetricInt4<BFloat16, float>, SymmetricInt4<BFloat16, BFloat16>,
                    SymmetricInt4<Float16, Float16>, SymmetricInt4<Float16, float>,
                    AffineInt4<float>, AffineInt4<BFloat16>, AffineInt4<Float16>,
                    AsymmetricInt8<float>, AsymmetricInt8<BFloat16>, AsymmetricInt8<Float16>>;
TYPED_TEST_SUITE(EveryGrid, Grids);

TYPED_TEST(EveryGrid, CodesAreIntegersInRange) {
  for (uint32_t seed = 0; seed < 200; ++seed) {
    const auto group = random_group<BFloat16>(seed);
    const auto grid = choose<TypeParam>(group);
    for (const float value : group) {
      const float code = quantize(grid, value).code;
      EXPECT_EQ(code, std::rint(code));
      EXPECT_GE(code, TypeParam::kMinCode);
      EXPECT_LE(code, TypeParam::kMaxCode);
    }
  }
}

TYPED_TEST(EveryGrid, CodesGrowWithTheValue) {
  for (uint32_t seed = 0; seed < 200; ++seed) {
    auto group = random_group<BFloat16>(seed);
    const auto grid = choose<TypeParam>(group);
    std::sort(group.begin(), group.end());
    float last = TypeParam::kMinCode;
    for (const float value : group) {
      const float code = quantize(grid, value).code;
      EXPECT_GE(code, last);
      last = code;
    }
  }
}

TYPED_TEST(EveryGrid, NanMakesTheWholeGroupNanAndPassesNoGradient) {
  auto group = random_group<BFloat16>(3);
  group[5] = kNan;
  const auto grid = choose<TypeParam>(group);
  EXPECT_TRUE(std::isnan(grid.scale));
  for (const float value : fake_quantize(grid, group)) EXPECT_TRUE(std::isnan(value));
  for (const float value : group) EXPECT_FALSE(quantize(grid, value).in_range);
}

TYPED_TEST(EveryGrid, InfinityMakesTheWholeGroupNan) {
  for (const float infinity : {kInfinity, -kInfinity}) {
    auto group = random_group<BFloat16>(4);
    group[7] = infinity;
    for (const float value : fake_quantize(choose<TypeParam>(group), group)) {
      EXPECT_TRUE(std::isnan(value));
    }
  }
}

TYPED_TEST(EveryGrid, ZerosStayZero) {
  const std::vector<float> zeros(kGroup, 0.0f);
  const auto grid = choose<TypeParam>(zeros);
  EXPECT_GT(grid.scale, 0.0f);
  for (const float value : fake_quantize(grid, zeros)) EXPECT_EQ(value, 0.0f);
}

TYPED_TEST(EveryGrid, ClippedValuesGetNoGradient) {
  const auto grid = choose<TypeParam>(random_group<BFloat16>(5));
  EXPECT_EQ(grid.gradient(1.0f, false), 0.0f);
  EXPECT_NE(grid.gradient(1.0f, true), 0.0f);
  EXPECT_NEAR(grid.gradient(1.0f, true), 1.0f, 0.02f);
}

template <class D, class S>
void expect_symmetric_error_bound() {
  for (uint32_t seed = 0; seed < 300; ++seed) {
    const auto group = random_group<D>(seed);
    const auto grid = choose<SymmetricInt4<D, S>>(group);
    for (const float value : group) {
      const auto [code, in_range] = quantize(grid, value);
      // Half a step, and the roundings of value and product to 8 significant bits.
      const float bound = (in_range ? 0.5f : 1.0f) * grid.scale + 0.02f * std::fabs(value);
      EXPECT_LE(std::fabs(grid.dequantize(code) - value), bound);
    }
  }
}

TEST(SymmetricInt4, ErrorIsAtMostHalfAStepInRange) {
  expect_symmetric_error_bound<float, float>();
  expect_symmetric_error_bound<BFloat16, BFloat16>();
  expect_symmetric_error_bound<Float16, Float16>();
}

// The largest magnitude lands on +-7.5, a tie: +8 is clipped to 7, -8 is a code.
TEST(SymmetricInt4, PositiveExtremeIsClippedAndNegativeOneIsKept) {
  const auto grid = SymmetricInt4<float, float>::choose(-7.5f, 7.5f);
  EXPECT_EQ(grid.scale, 1.0f);
  EXPECT_EQ(quantize(grid, 7.5f).code, 7.0f);
  EXPECT_FALSE(quantize(grid, 7.5f).in_range);
  EXPECT_EQ(quantize(grid, -7.5f).code, -8.0f);
  EXPECT_TRUE(quantize(grid, -7.5f).in_range);
}

TEST(SymmetricInt4, TiesRoundToEven) {
  const auto grid = SymmetricInt4<float, float>::from_scale(1.0f);
  EXPECT_EQ(quantize(grid, 0.5f).code, 0.0f);
  EXPECT_EQ(quantize(grid, 1.5f).code, 2.0f);
  EXPECT_EQ(quantize(grid, -2.5f).code, -2.0f);
  EXPECT_FALSE(std::signbit(quantize(grid, -0.25f).code)) << "-0 becomes +0";
}

TEST(SymmetricInt4, ScaleIsNeverBelowTheSmallestNormal) {
  const float tiny = std::numeric_limits<float>::denorm_min();
  const float smallest = std::numeric_limits<float>::min();
  EXPECT_EQ((SymmetricInt4<float, float>::choose(-tiny, tiny).scale), smallest);
  EXPECT_EQ((SymmetricInt4<BFloat16, BFloat16>::choose(0.0f, 0.0f).scale), smallest);
  EXPECT_EQ((SymmetricInt4<Float16, Float16>::choose(0.0f, 0.0f).scale), std::ldexp(1.0f, -14));
}

// Fake-quantizing again under the same parameters changes nothing where the product is exact.
template <class D, class S>
void expect_idempotent() {
  for (uint32_t seed = 0; seed < 300; ++seed) {
    const auto group = random_group<D>(seed);
    const auto grid = choose<SymmetricInt4<D, S>>(group);
    const auto once = fake_quantize(grid, group);
    EXPECT_EQ(fake_quantize(grid, once), once) << "seed " << seed;
  }
}

TEST(SymmetricInt4, FakeQuantIsIdempotentUnderTheSameScale) {
  expect_idempotent<float, float>();
  expect_idempotent<float, BFloat16>();
  expect_idempotent<BFloat16, BFloat16>();
  expect_idempotent<BFloat16, float>();
}

TEST(AsymmetricInt8, ZeroIsExactWhereverTheRangeLies) {
  for (const auto& [low, high] : {std::pair{-3.0f, 5.0f}, {2.0f, 9.0f}, {-9.0f, -2.0f}}) {
    const auto grid = AsymmetricInt8<float>::choose(low, high);
    EXPECT_EQ(grid.dequantize(quantize(grid, 0.0f).code), 0.0f);
  }
}

TEST(AsymmetricInt8, AllPositiveAndAllNegativeRowsUseOneEndAsZero) {
  EXPECT_EQ(AsymmetricInt8<float>::choose(2.0f, 255.0f).zero_point, -128.0f);
  EXPECT_EQ(AsymmetricInt8<float>::choose(-255.0f, -2.0f).zero_point, 127.0f);
}

TEST(AsymmetricInt8, ScaleHasAFloor) {
  EXPECT_EQ(AsymmetricInt8<float>::choose(0.0f, 0.0f).scale, std::ldexp(1.0f, -23));
  EXPECT_EQ(AsymmetricInt8<BFloat16>::choose(0.0f, 1e-30f).scale, std::ldexp(1.0f, -23));
}

TEST(AffineInt4, RangeNeedNotHoldZero) {
  const auto grid = AffineInt4<float>::choose(10.0f, 25.0f);
  EXPECT_EQ(grid.scale, 1.0f);
  EXPECT_EQ(grid.zero_point, 18.0f);
  EXPECT_EQ(quantize(grid, 10.0f).code, 0.0f);
  EXPECT_EQ(quantize(grid, 25.0f).code, 15.0f);
  EXPECT_EQ(grid.dequantize(15.0f), 25.0f);
}

TEST(AffineInt4, ScaleHasAFloor) {
  EXPECT_EQ(AffineInt4<float>::choose(1.0f, 1.0f).scale, round_to<BFloat16>(1e-6f));
}

// Prepared equals converted: integer codes and stored scales give the fake-quantized bits back.
template <class D, class S>
void expect_prepared_equals_converted() {
  for (uint32_t seed = 0; seed < 1000; ++seed) {
    const auto group = random_group<D>(seed);
    const auto trained = choose<SymmetricInt4<D, S>>(group);
    const S stored_scale = S(trained.scale);
    const auto converted = SymmetricInt4<D, S>::from_scale(static_cast<float>(stored_scale));
    for (const float value : group) {
      const float code = quantize(trained, value).code;
      const auto stored_code = static_cast<int8_t>(code);
      const float after = converted.dequantize(static_cast<float>(stored_code));
      ASSERT_EQ(float_bits(after), float_bits(trained.dequantize(code))) << "seed " << seed;
    }
  }
}

TEST(SymmetricInt4, PreparedEqualsConvertedBitwise) {
  expect_prepared_equals_converted<float, float>();
  expect_prepared_equals_converted<float, BFloat16>();
  expect_prepared_equals_converted<BFloat16, BFloat16>();
  expect_prepared_equals_converted<BFloat16, float>();
  expect_prepared_equals_converted<Float16, Float16>();
  expect_prepared_equals_converted<Float16, float>();
}

template <class D>
void expect_activation_prepared_equals_converted() {
  for (uint32_t seed = 0; seed < 1000; ++seed) {
    const auto group = random_group<D>(seed);
    const auto grid = choose<AsymmetricInt8<D>>(group);
    const auto converted = AsymmetricInt8<D>::from_parameters(grid.scale, grid.zero_point);
    for (const float value : group) {
      const float code = quantize(grid, value).code;
      const float after = converted.dequantize(static_cast<float>(static_cast<int8_t>(code)));
      ASSERT_EQ(float_bits(after), float_bits(grid.dequantize(code))) << "seed " << seed;
    }
  }
}

TEST(AsymmetricInt8, PreparedEqualsConvertedBitwise) {
  expect_activation_prepared_equals_converted<float>();
  expect_activation_prepared_equals_converted<BFloat16>();
  expect_activation_prepared_equals_converted<Float16>();
}

}  // namespace
}  // namespace nibble::numerics
