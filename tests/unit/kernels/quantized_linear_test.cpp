#include <nibble/kernels/cpu_isa.h>

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <ostream>
#include <random>
#include <vector>

#include "support/kernel_inputs.h"

namespace nibble::tests {
namespace {

using kernels::CpuIsa;
using kernels::DType;
using kernels::GridKind;

struct Shape {
  int64_t tokens, rows, cols, group_size;
};
std::ostream& operator<<(std::ostream& stream, const Shape& s) {
  return stream << s.tokens << " tokens, " << s.rows << "x" << s.cols << ", group " << s.group_size;
}

// Columns that fill registers and that do not, groups that straddle them.
const std::vector<Shape> kShapes = {{0, 4, 64, 32},    {1, 0, 64, 32},   {1, 1, 8, 8},
                                    {2, 3, 72, 24},    {3, 5, 96, 96},   {4, 9, 576, 32},
                                    {5, 7, 576, 64},   {6, 4, 256, 256}, {7, 3, 480, 96},
                                    {8, 2, 1536, 128}, {9, 2, 160, 160}};

struct Case {
  GridKind grid;
  DType dtype;
  DType scale_dtype;
};
const std::vector<Case> kCases = {
    {GridKind::kSymmetricInt4, DType::kFloat32, DType::kFloat32},
    {GridKind::kSymmetricInt4, DType::kFloat32, DType::kBFloat16},
    {GridKind::kSymmetricInt4, DType::kBFloat16, DType::kFloat32},
    {GridKind::kSymmetricInt4, DType::kBFloat16, DType::kBFloat16},
    {GridKind::kSymmetricInt4, DType::kFloat16, DType::kFloat16},
    {GridKind::kAffineInt4, DType::kFloat32, DType::kBFloat16},
    {GridKind::kAffineInt4, DType::kBFloat16, DType::kBFloat16},
    {GridKind::kAffineInt4, DType::kFloat16, DType::kBFloat16},
};

/// A random problem, all of its buffers, and its exact answer.
class Problem {
 public:
  Problem(const Shape& shape, const Case& how, uint64_t seed) : shape_(shape), random_(seed) {
    weight_ = {how.grid, how.dtype, how.scale_dtype, shape.rows, shape.cols, shape.group_size};
    const int64_t parameters = shape.rows * (shape.cols / shape.group_size);
    std::uniform_int_distribution<int> code(0, 15);
    for (int64_t i = 0; i < shape.rows * shape.cols; ++i) {
      nibbles_.push_back(static_cast<int8_t>(code(random_)));
    }
    packed_ = pack_rows(nibbles_, shape.cols, 0);
    scales_ = TypedBuffer(how.scale_dtype, normal(parameters, 0.01f));
    if (how.grid == GridKind::kAffineInt4) {
      zeros_ = TypedBuffer(how.scale_dtype, normal(parameters, 0.03f));
    }
    input_ = TypedBuffer(how.dtype, normal(shape.tokens * shape.cols, 1.0f));
  }

  /// All values 0: the smallest code, the zero point eight steps above it.
  void make_affine_zero() {
    std::fill(nibbles_.begin(), nibbles_.end(), int8_t{0});
    packed_ = pack_rows(nibbles_, shape_.cols, 0);
    const int64_t parameters = shape_.rows * (shape_.cols / shape_.group_size);
    scales_ = TypedBuffer(weight_.scale_dtype, std::vector<float>(parameters, 1e-6f));
    zeros_ = TypedBuffer(weight_.scale_dtype, std::vector<float>(parameters, 8e-6f));
  }

  TypedBuffer run(CpuIsa isa, int64_t parts = 1) const {
    TypedBuffer output(weight_.dtype, std::vector<float>(shape_.tokens * shape_.rows, -7.0f));
    kernels::QuantizedLinearParams params;
    params.weight = weight_;
    params.packed_codes = packed_.data();
    params.scales = scales_.data();
    params.zeros = weight_.grid == GridKind::kAffineInt4 ? zeros_.data() : nullptr;
    params.tokens = shape_.tokens;
    params.input = input_.data();
    params.output = output.data();
    AlignedBytes scratch(kernels::quantized_linear_scratch_bytes(params));
    for (int64_t part = 0; part < parts; ++part) {
      kernels::quantized_linear_cpu(params, part * shape_.rows / parts,
                                    (part + 1) * shape_.rows / parts, scratch.data(), isa);
    }
    return output;
  }

  /// The exact product, and the sum of its terms' magnitudes.
  struct Answer {
    double value, magnitude;
  };
  Answer answer(int64_t token, int64_t row) const {
    Answer result{0.0, 0.0};
    for (int64_t col = 0; col < shape_.cols; ++col) {
      const double term = weight_value(row, col) * double{input_.at(token * shape_.cols + col)};
      result.value += term;
      result.magnitude += std::abs(term);
    }
    return result;
  }

 private:
  /// Of the grid's formula, not rounded to the dtype.
  double weight_value(int64_t row, int64_t col) const {
    const int64_t index = row * (shape_.cols / shape_.group_size) + col / shape_.group_size;
    const double steps = nibbles_[row * shape_.cols + col] - 8;
    const bool affine = weight_.grid == GridKind::kAffineInt4;
    return steps * scales_.at(index) + (affine ? zeros_.at(index) : 0.0f);
  }
  std::vector<float> normal(int64_t count, float deviation) {
    std::normal_distribution<float> distribution(0.0f, deviation);
    std::vector<float> result(count);
    for (float& value : result) value = distribution(random_);
    return result;
  }

  Shape shape_;
  std::mt19937_64 random_;
  kernels::GroupedMatrix weight_;
  std::vector<int8_t> nibbles_;
  std::vector<uint8_t> packed_;
  TypedBuffer scales_, zeros_, input_;
};

class QuantizedLinear : public testing::TestWithParam<CpuIsa> {
 protected:
  void SetUp() override {
    if (!kernels::is_supported(GetParam())) GTEST_SKIP() << "this machine cannot run them";
  }
};
INSTANTIATE_TEST_SUITE_P(Isa, QuantizedLinear, testing::ValuesIn(kernels::kAllCpuIsas),
                         [](const auto& isa) { return std::string(name_of(isa.param)); });

/// Half a unit in the last place of a number of this size.
double rounding_of(DType dtype, double value) {
  const int bits = dtype == DType::kFloat32 ? 24 : dtype == DType::kBFloat16 ? 8 : 11;
  return std::abs(value) * std::ldexp(1.0, -bits);
}

TEST_P(QuantizedLinear, IsTheProductRoundedOnce) {
  uint64_t seed = 1;
  for (const Case& how : kCases) {
    for (const Shape& shape : kShapes) {
      const Problem problem(shape, how, ++seed);
      const TypedBuffer output = problem.run(GetParam());
      for (int64_t token = 0; token < shape.tokens; ++token) {
        for (int64_t row = 0; row < shape.rows; ++row) {
          const auto [value, magnitude] = problem.answer(token, row);
          ASSERT_NEAR(output.at(token * shape.rows + row), value,
                      rounding_of(how.dtype, value) + 2e-6 * magnitude)
              << shape << ", token " << token << ", row " << row << ", dtype "
              << static_cast<int>(how.dtype);
        }
      }
    }
  }
}

TEST_P(QuantizedLinear, DoesNotDependOnTheSplitOfRows) {
  for (const Case& how : kCases) {
    const Problem problem({5, 33, 224, 32}, how, 5);
    const auto whole = problem.run(GetParam()).bytes();
    for (const int64_t parts : {2, 7, 33}) {
      EXPECT_EQ(problem.run(GetParam(), parts).bytes(), whole);
    }
  }
}

TEST_P(QuantizedLinear, AnAffineWeightOfZerosGivesZeros) {
  Problem problem({5, 3, 192, 32}, {GridKind::kAffineInt4, DType::kFloat32, DType::kBFloat16}, 5);
  problem.make_affine_zero();
  const TypedBuffer output = problem.run(GetParam());
  for (int64_t i = 0; i < 15; ++i) EXPECT_EQ(output.at(i), 0.0f);
}

TEST(QuantizedLinearLimits, AreTheInt4GridsAndGroupsOfEights) {
  kernels::GroupedMatrix weight{
      GridKind::kAffineInt4, DType::kFloat32, DType::kBFloat16, 4, 96, 32};
  EXPECT_TRUE(can_run_quantized_linear_cpu(weight));
  weight.group_size = 12;
  EXPECT_FALSE(can_run_quantized_linear_cpu(weight));
  weight.group_size = 32;
  weight.grid = GridKind::kAsymmetricInt8;
  EXPECT_FALSE(can_run_quantized_linear_cpu(weight));
}

}  // namespace
}  // namespace nibble::tests
