#include <nibble/core/error.h>
#include <nibble/kernels/cpu_isa.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "support/kernel_comparison.h"

namespace nibble::tests {
namespace {

using kernels::CpuIsa;
using ::testing::IsEmpty;

class CpuKernels : public testing::TestWithParam<CpuIsa> {
 protected:
  void SetUp() override {
    if (!kernels::is_supported(GetParam())) GTEST_SKIP() << "this machine cannot run them";
  }
  static void expect_reference_bits(Values values) {
    uint64_t seed = 1;
    for (const ComparisonShape& shape : comparison_shapes()) {
      const auto result =
          compare_kernels(reference_kernels(), cpu_kernels(GetParam()), shape, values, ++seed);
      EXPECT_THAT(result.failures, IsEmpty());
    }
  }
};

TEST_P(CpuKernels, EqualReferenceOnNormalValues) { expect_reference_bits(Values::kNormal); }
TEST_P(CpuKernels, EqualReferenceOnAnyFiniteBits) { expect_reference_bits(Values::kRawBits); }
TEST_P(CpuKernels, EqualReferenceOnTies) { expect_reference_bits(Values::kHalves); }
TEST_P(CpuKernels, EqualReferenceOnSpecialValues) { expect_reference_bits(Values::kSpecial); }
TEST_P(CpuKernels, EqualReferenceOnTinyValues) { expect_reference_bits(Values::kTiny); }

INSTANTIATE_TEST_SUITE_P(Isa, CpuKernels, testing::ValuesIn(kernels::kAllCpuIsas),
                         [](const auto& isa) { return std::string(name_of(isa.param)); });

TEST(CpuIsa, PortableIsAlwaysSupported) {
  EXPECT_TRUE(kernels::is_supported(CpuIsa::kPortable));
  EXPECT_TRUE(kernels::is_supported(kernels::best_cpu_isa()));
}

TEST(FakeQuant, RowRangeTouchesOnlyItsRows) {
  constexpr int64_t kRows = 4, kCols = 64;
  std::vector<float> input(kRows * kCols, 1.0f), output(kRows * kCols, -5.0f);
  kernels::FakeQuantParams p;
  p.matrix = {kernels::GridKind::kSymmetricInt4,
              kernels::DType::kFloat32,
              kernels::DType::kFloat32,
              kRows,
              kCols,
              32};
  p.input = input.data();
  p.input_row_stride = kCols;
  p.output = output.data();
  kernels::fake_quantize_cpu(p, 1, 3);
  EXPECT_EQ(std::count(output.begin(), output.end(), -5.0f), 2 * kCols);
  EXPECT_EQ(output[0], -5.0f);
  EXPECT_EQ(output.back(), -5.0f);
}

TEST(FakeQuant, RefusesScaleDtypeThatTheGridDoesNotHave) {
  kernels::FakeQuantParams p;
  p.matrix.grid = kernels::GridKind::kAffineInt4;
  p.matrix.scale_dtype = kernels::DType::kFloat32;
  EXPECT_THROW(kernels::fake_quantize_cpu(p, 0, 0), Error);
  p.matrix.grid = kernels::GridKind::kAsymmetricInt8;
  p.matrix.scale_dtype = kernels::DType::kBFloat16;
  EXPECT_THROW(kernels::fake_quantize_cpu(p, 0, 0), Error);
}

TEST(FakeQuant, RefusesUnknownDtypeAndGrid) {
  kernels::FakeQuantParams p;
  p.matrix.dtype = static_cast<kernels::DType>(77);
  EXPECT_THROW(kernels::fake_quantize_cpu(p, 0, 0), Error);
  p.matrix.dtype = kernels::DType::kFloat32;
  p.matrix.grid = static_cast<kernels::GridKind>(77);
  EXPECT_THROW(kernels::fake_quantize_cpu(p, 0, 0), Error);
}

TEST(FakeQuantBackward, RefusesGradientDtypesThatItDoesNotHave) {
  kernels::FakeQuantBackwardParams p;
  p.matrix.dtype = kernels::DType::kBFloat16;
  p.grad_output_dtype = kernels::DType::kFloat32;
  EXPECT_THROW(kernels::fake_quantize_backward_cpu(p, 0, 0), Error);
  p.matrix.dtype = kernels::DType::kFloat32;
  p.grad_input_dtype = kernels::DType::kBFloat16;
  EXPECT_THROW(kernels::fake_quantize_backward_cpu(p, 0, 0), Error);
  p.grad_output_dtype = kernels::DType::kBFloat16;
  EXPECT_NO_THROW(kernels::fake_quantize_backward_cpu(p, 0, 0));
}

TEST(KernelComparison, SeesOneWrongBit) {
  KernelSet wrong = reference_kernels();
  wrong.fake_quantize = [right = wrong.fake_quantize](const kernels::FakeQuantParams& p) {
    right(p);
    if (p.in_range != nullptr) p.in_range[0] ^= 1;
  };
  const auto result = compare_kernels(reference_kernels(), wrong, {2, 64, 32}, Values::kNormal, 1);
  EXPECT_FALSE(result.failures.empty());
}

}  // namespace
}  // namespace nibble::tests
