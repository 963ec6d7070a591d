#include <nibble/numerics/float_types.h>

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

namespace nibble::numerics {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

template <class T>
class HalfTypes : public testing::Test {};
using Types = testing::Types<BFloat16, Float16>;
TYPED_TEST_SUITE(HalfTypes, Types);

TYPED_TEST(HalfTypes, EveryPatternSurvivesTheWayToFloatAndBack) {
  for (uint32_t pattern = 0; pattern < 65536; ++pattern) {
    const auto bits = static_cast<uint16_t>(pattern);
    const float value = static_cast<float>(TypeParam::from_bits(bits));
    const TypeParam back(value);
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(static_cast<float>(back))) << pattern;
    } else {
      EXPECT_EQ(back.bits, bits);
    }
  }
}

// Between neighbours, a little less than half rounds down, a little more up, half to even.
TYPED_TEST(HalfTypes, RoundsToNearestTiesToEven) {
  for (uint32_t pattern = 0; pattern < 0x7fff; ++pattern) {
    const auto bits = static_cast<uint16_t>(pattern);
    const double low = static_cast<float>(TypeParam::from_bits(bits));
    const double high = static_cast<float>(TypeParam::from_bits(static_cast<uint16_t>(bits + 1)));
    if (!std::isfinite(low) || !std::isfinite(high)) continue;
    const auto middle = static_cast<float>((low + high) / 2);
    ASSERT_EQ(static_cast<double>(middle), (low + high) / 2) << "the midpoint is exact";
    EXPECT_EQ(TypeParam(middle).bits, bits % 2 == 0 ? bits : bits + 1);
    EXPECT_EQ(TypeParam(std::nextafter(middle, -kInfinity)).bits, bits);
    EXPECT_EQ(TypeParam(std::nextafter(middle, kInfinity)).bits, bits + 1);
    EXPECT_EQ(TypeParam(-middle).bits, TypeParam(middle).bits | 0x8000);
  }
}

TEST(BFloat16, OverflowsToInfinityHalfwayBeyondTheLargest) {
  const float largest = static_cast<float>(BFloat16::from_bits(0x7f7f));
  EXPECT_EQ(BFloat16(largest).bits, 0x7f7f);
  EXPECT_EQ(BFloat16(std::numeric_limits<float>::max()).bits, 0x7f80);
  EXPECT_EQ(BFloat16(-kInfinity).bits, 0xff80);
}

TEST(Float16, OverflowsToInfinityHalfwayBeyondTheLargest) {
  EXPECT_EQ(Float16(65504.0f).bits, 0x7bff);
  EXPECT_EQ(Float16(65519.996f).bits, 0x7bff);
  EXPECT_EQ(Float16(65520.0f).bits, 0x7c00);
  EXPECT_EQ(Float16(-kInfinity).bits, 0xfc00);
  EXPECT_EQ(Float16(5e-8f).bits, 0x0001);
  EXPECT_EQ(Float16(std::ldexp(1.0f, -25)).bits, 0x0000) << "half the smallest: ties to even";
}

TEST(HalfTypesNan, PayloadInTheLowBitsStaysNan) {
  const float signalling = float_from_bits(0x7f800001u);
  EXPECT_TRUE(std::isnan(static_cast<float>(BFloat16(signalling))));
  EXPECT_TRUE(std::isnan(static_cast<float>(Float16(signalling))));
}

#if defined(__FLT16_MANT_DIG__)
TEST(Float16, AgreesWithTheCompilerOnRandomBits) {
  std::mt19937 random(1);
  for (int i = 0; i < 2'000'000; ++i) {
    const float value = float_from_bits(random());
    const auto theirs = static_cast<_Float16>(value);
    if (std::isnan(value)) continue;
    ASSERT_EQ(static_cast<float>(Float16(value)), static_cast<float>(theirs)) << value;
  }
}
#endif

TEST(RoundTo, FloatIsUnchangedAndHalvesRound) {
  EXPECT_EQ(round_to<float>(1.0000001f), 1.0000001f);
  EXPECT_EQ(round_to<BFloat16>(1.0f + 1.0f / 256), 1.0f);
  EXPECT_EQ(round_to<Float16>(1.0f + 1.0f / 2048), 1.0f);
}

TEST(Promote, OnlyEqualTypesStayNarrow) {
  EXPECT_TRUE((std::is_same_v<promote_t<BFloat16, BFloat16>, BFloat16>));
  EXPECT_TRUE((std::is_same_v<promote_t<Float16, Float16>, Float16>));
  EXPECT_TRUE((std::is_same_v<promote_t<BFloat16, Float16>, float>));
  EXPECT_TRUE((std::is_same_v<promote_t<float, BFloat16>, float>));
}

TEST(NanAware, MinMaxAndClampPassNanOn) {
  EXPECT_TRUE(std::isnan(nan_min(kNan, 1.0f)));
  EXPECT_TRUE(std::isnan(nan_min(1.0f, kNan)));
  EXPECT_TRUE(std::isnan(nan_max(kNan, 1.0f)));
  EXPECT_TRUE(std::isnan(nan_max(1.0f, kNan)));
  EXPECT_TRUE(std::isnan(nan_clamp(kNan, -1.0f, 1.0f)));
  EXPECT_EQ(nan_clamp(kInfinity, -1.0f, 1.0f), 1.0f);
  EXPECT_FALSE(within(kNan, -1.0f, 1.0f));
  EXPECT_TRUE(within(-1.0f, -1.0f, 1.0f));
}

// What a GPU computes in divide_by_bfloat16: reciprocal, product and one residual correction give
// the correctly rounded quotient. Significands alone matter; steps of 61 of 2^23 dividends keep the
// test short (all were checked once).
TEST(DivideByBFloat16, OneResidualStepIsExactForEveryDivisorSignificand) {
  for (uint32_t significand = 0; significand < 128; ++significand) {
    const float divisor = float_from_bits(0x3f800000u | significand << 16);
    const float reciprocal = 1.0f / divisor;
    for (uint32_t low = 0; low < (1u << 23); low += 61) {
      const float dividend = float_from_bits(0x3f800000u | low);
      const float quotient = dividend * reciprocal;
      const float residual = std::fma(-divisor, quotient, dividend);
      ASSERT_EQ(std::fma(residual, reciprocal, quotient), dividend / divisor);
    }
  }
}

}  // namespace
}  // namespace nibble::numerics
