#include <nibble/numerics/grids.h>

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

// What lets kernels compute in fewer roundings than the formulas write, checked over every case
// that can differ (kernels/cuda/device/bfloat16x2.cuh, divide_by_bfloat16, round_to_integer).
namespace nibble::numerics {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr uint32_t kPositivePatterns = 0x7f80;  ///< of bfloat16, without infinity and NaN
constexpr uint32_t kSignificands = 128;

float bfloat16(uint32_t bits) {
  return static_cast<float>(BFloat16::from_bits(static_cast<uint16_t>(bits)));
}

/// A positive bfloat16 by its parts; biased exponent 1 is that of the smallest normal.
float bfloat16(uint32_t biased_exponent, uint32_t significand) {
  return bfloat16(biased_exponent << 7 | significand);
}

/// `exact` rounded to bfloat16 once, half to even.
float round_once(double exact) {
  int exponent;
  std::frexp(exact, &exponent);
  const double unit = std::ldexp(1.0, std::max(exponent - 8, -133));
  const double rounded = std::nearbyint(exact / unit) * unit;
  constexpr double kOverflow = 0x1p128;
  if (std::fabs(rounded) >= kOverflow) return std::copysign(kInfinity, static_cast<float>(exact));
  return static_cast<float>(rounded);
}

// fma.rn.bf16x2 rounds once, the formulas to float first.
TEST(BFloat16Identities, ProductsRoundOnceAsTheyRoundThroughFloat) {
  for (const uint32_t exponent : {0u, 1u, 20u, 64u, 127u, 140u, 200u, 254u}) {
    for (uint32_t significand = 0; significand < kSignificands; ++significand) {
      const float b = bfloat16(exponent, significand);
      for (uint32_t bits = 0; bits < kPositivePatterns; ++bits) {
        const float a = bfloat16(bits);
        const double exact = static_cast<double>(a) * static_cast<double>(b);
        ASSERT_EQ(round_to<BFloat16>(multiply(a, b)), round_once(exact)) << a << " * " << b;
      }
    }
  }
}

// Exponents further apart leave the larger operand as it is, both ways.
TEST(BFloat16Identities, SumsRoundOnceAsTheyRoundThroughFloat) {
  for (const uint32_t exponent : {0u, 1u, 60u, 224u}) {
    for (uint32_t above = 0; above <= 30; ++above) {
      for (uint32_t i = 0; i < kSignificands; ++i) {
        for (uint32_t j = 0; j < kSignificands; ++j) {
          const float a = bfloat16(exponent + above, i), b = bfloat16(exponent, j);
          const double x = a, y = b;
          ASSERT_EQ(round_to<BFloat16>(add(a, b)), round_once(x + y)) << a << " + " << b;
          ASSERT_EQ(round_to<BFloat16>(subtract(a, b)), round_once(x - y)) << a << " - " << b;
        }
      }
    }
  }
}

void expect_quotient(float a, float b) {
  const float expected = round_to<BFloat16>(divide(a, b));
  const float actual = divide_by_bfloat16<BFloat16>(a, b, reciprocal(b));
  ASSERT_TRUE(actual == expected || (std::isnan(actual) && std::isnan(expected)))
      << a << " / " << b << " is " << expected << ", got " << actual;
}

// Every dividend, every significand of the divisor; exponents at both ends and between, which bring
// quotients into the subnormals and beyond the largest number.
TEST(BFloat16Identities, ProductWithTheReciprocalIsTheQuotient) {
  for (const uint32_t exponent : {1u, 2u, 70u, 107u, 127u, 130u, 180u, 252u, 253u, 254u}) {
    for (uint32_t significand = 0; significand < kSignificands; ++significand) {
      const float b = bfloat16(exponent, significand);
      for (uint32_t bits = 0; bits < kPositivePatterns; ++bits) expect_quotient(bfloat16(bits), b);
    }
  }
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  for (const float special : {0.0f, -0.0f, 1.5f, kInfinity, -kInfinity, kNan}) {
    for (const float divisor : {1.5f, kInfinity, kNan}) expect_quotient(special, divisor);
  }
}

TEST(RoundToInteger, IsHalfToEvenWithOneZero) {
  for (int i = -4096; i <= 4096; ++i) {
    const float middle = static_cast<float>(i) + 0.5f;
    for (const float value : {static_cast<float>(i), middle, std::nextafter(middle, -kInfinity),
                              std::nextafter(middle, kInfinity)}) {
      ASSERT_EQ(round_to_integer(value), std::nearbyint(value)) << value;
    }
  }
  EXPECT_FALSE(std::signbit(round_to_integer(-0.0f)));
  EXPECT_FALSE(std::signbit(round_to_integer(-0.25f)));
  EXPECT_TRUE(std::isnan(round_to_integer(std::numeric_limits<float>::quiet_NaN())));
}

TEST(RoundToInteger, StaysFarOutsideEveryGridBeyondTwoToThe22) {
  for (uint32_t bits = 0; bits <= 0x7f800000u; bits += 0x1234) {
    const float value = float_from_bits(bits);
    if (value < 4194304.0f) continue;
    ASSERT_GE(round_to_integer(value), 4194304.0f);
    ASSERT_LE(round_to_integer(-value), -4194304.0f);
  }
  EXPECT_EQ(round_to_integer(kInfinity), kInfinity);
  EXPECT_EQ(round_to_integer(-kInfinity), -kInfinity);
}

/// Both decide alike: the code after clamping, and whether it was inside.
void expect_same_decision(float actual, float expected, float low, float high) {
  ASSERT_EQ(nan_clamp(actual, low, high), nan_clamp(expected, low, high)) << expected;
  ASSERT_EQ(within(actual, low, high), within(expected, low, high)) << expected;
}

// round_to_integer of packed bfloat16: every value, the ranges of both int4 grids.
TEST(BFloat16Identities, TheShiftOf192RoundsCodesOfInt4) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float value = bfloat16(bits);
    if (std::isnan(value)) continue;
    const float shifted = round_to<BFloat16>(add(value, 192.0f));
    const float integer = round_to<BFloat16>(subtract(shifted, 192.0f));
    expect_same_decision(integer, std::nearbyint(value), -8.0f, 7.0f);
    expect_same_decision(integer, std::nearbyint(value), 0.0f, 15.0f);
    EXPECT_FALSE(integer == 0.0f && std::signbit(integer));
  }
}

// Integers that the float lanes hand over in bfloat16, and the zero point added there.
TEST(BFloat16Identities, CodesOfInt8SurviveNarrowing) {
  for (int steps = -2000; steps <= 2000; ++steps) {
    const float narrow = round_to<BFloat16>(static_cast<float>(steps));
    for (int zero = -128; zero <= 127; ++zero) {
      const float code = round_to<BFloat16>(narrow + static_cast<float>(zero));
      expect_same_decision(code, static_cast<float>(steps + zero), -128.0f, 127.0f);
    }
  }
}

// The packed lanes multiply codes by the scale in bfloat16.
TEST(BFloat16Identities, ScalesOfABFloat16TensorAreExactInBFloat16) {
  for (uint32_t bits = 0; bits <= kPositivePatterns; ++bits) {
    const float magnitude = bfloat16(bits);
    const float scales[] = {SymmetricInt4<BFloat16, float>::choose(-magnitude, magnitude).scale,
                            AsymmetricInt8<BFloat16>::choose(-magnitude, magnitude).scale};
    for (const float scale : scales) ASSERT_EQ(round_to<BFloat16>(scale), scale) << magnitude;
  }
}

}  // namespace
}  // namespace nibble::numerics
