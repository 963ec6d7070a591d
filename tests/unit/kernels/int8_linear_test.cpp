#include <nibble/kernels/cpu_isa.h>

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
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

// Every count of tokens that a kernel treats apart, rows around the tiles, columns around the
// registers, and group sizes that divide neither.
const std::vector<Shape> kShapes = {
    {0, 32, 64, 32},   {1, 0, 64, 32},     {1, 1, 8, 8},        {2, 3, 24, 24},   {3, 31, 40, 8},
    {4, 33, 96, 32},   {5, 64, 128, 128},  {6, 17, 576, 64},    {7, 70, 576, 32}, {8, 5, 192, 96},
    {9, 40, 256, 256}, {11, 95, 136, 136}, {13, 32, 1536, 128}, {64, 8, 480, 48},
};

/// A random problem, all of its buffers, and its exact answer.
class Problem {
 public:
  Problem(const Shape& shape, DType dtype, DType scale_dtype, uint64_t seed)
      : shape_(shape), random_(seed) {
    weight_ = {GridKind::kSymmetricInt4, dtype, scale_dtype, shape.rows, shape.cols,
               shape.group_size};
    const int64_t groups = shape.cols / shape.group_size;
    weight_codes_ = integers(shape.rows * shape.cols, -8, 7);
    packed_ = pack_rows(weight_codes_, shape.cols, -8);
    scales_ = TypedBuffer(scale_dtype, normal(shape.rows * groups, 0.01f));
    codes_ = integers(shape.tokens * shape.cols, -128, 127);
    activation_scales_ = normal(shape.tokens, 0.05f);
    for (const int8_t zero : integers(shape.tokens, -128, 127)) activation_zeros_.push_back(zero);
  }

  /// The extremes of every operand.
  void saturate() {
    std::fill(codes_.begin(), codes_.end(), static_cast<int8_t>(127));
    std::fill(weight_codes_.begin(), weight_codes_.end(), static_cast<int8_t>(-8));
    packed_ = pack_rows(weight_codes_, shape_.cols, -8);
    std::fill(activation_zeros_.begin(), activation_zeros_.end(), -128.0f);
  }
  void make_token_nan(int64_t token) {
    activation_scales_[token] = activation_zeros_[token] = std::numeric_limits<float>::quiet_NaN();
  }

  /// The output, its rows in `parts` calls.
  TypedBuffer run(CpuIsa isa, int64_t parts = 1) const {
    std::vector<uint8_t> arranged(codes_.size());
    kernels::Int8ActivationParams activation{codes_.data(), shape_.cols, arranged.data()};
    kernels::arrange_int8_activations_cpu(activation, 0, shape_.tokens, isa);
    TypedBuffer output(weight_.dtype, std::vector<float>(shape_.tokens * shape_.rows, -7.0f));
    AlignedBytes scratch(kernels::int8_linear_scratch_bytes(weight_));
    kernels::Int8LinearParams params;
    params.weight = weight_;
    params.packed_codes = packed_.data();
    params.scales = scales_.data();
    params.tokens = shape_.tokens;
    params.arranged = arranged.data();
    params.activation_scales = activation_scales_.data();
    params.activation_zeros = activation_zeros_.data();
    params.output = output.data();
    for (int64_t part = 0; part < parts; ++part) {
      kernels::int8_linear_cpu(params, part * shape_.rows / parts, (part + 1) * shape_.rows / parts,
                               scratch.data(), isa);
    }
    return output;
  }

  /// In double precision, which is exact up to the sum over groups, and the scale of its terms.
  struct Answer {
    double value, magnitude;
  };
  Answer answer(int64_t token, int64_t row) const {
    Answer result{0.0, 0.0};
    const int64_t groups = shape_.cols / shape_.group_size;
    for (int64_t col = 0; col < shape_.cols; ++col) {
      const double x = codes_[token * shape_.cols + col] - activation_zeros_[token];
      const double w = weight_codes_[row * shape_.cols + col] *
                       double{scales_.at(row * groups + col / shape_.group_size)};
      result.value += x * w * activation_scales_[token];
      result.magnitude += std::abs(x * w * activation_scales_[token]);
    }
    return result;
  }

  const Shape& shape() const { return shape_; }

 private:
  std::vector<int8_t> integers(int64_t count, int lowest, int highest) {
    std::uniform_int_distribution<int> distribution(lowest, highest);
    std::vector<int8_t> result(count);
    for (int8_t& value : result) value = static_cast<int8_t>(distribution(random_));
    return result;
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
  std::vector<int8_t> weight_codes_, codes_;
  std::vector<uint8_t> packed_;
  TypedBuffer scales_;
  std::vector<float> activation_scales_, activation_zeros_;
};

class Int8Linear : public testing::TestWithParam<CpuIsa> {
 protected:
  void SetUp() override {
    if (!kernels::is_supported(GetParam())) GTEST_SKIP() << "this machine cannot run them";
  }
};
INSTANTIATE_TEST_SUITE_P(Isa, Int8Linear, testing::ValuesIn(kernels::kAllCpuIsas),
                         [](const auto& isa) { return std::string(name_of(isa.param)); });

TEST_P(Int8Linear, IsTheExactProductRoundedOnce) {
  for (const Shape& shape : kShapes) {
    const Problem problem(shape, DType::kFloat32, DType::kFloat32, 11);
    const TypedBuffer output = problem.run(GetParam());
    for (int64_t token = 0; token < shape.tokens; ++token) {
      for (int64_t row = 0; row < shape.rows; ++row) {
        const auto [value, magnitude] = problem.answer(token, row);
        ASSERT_NEAR(output.at(token * shape.rows + row), value, 1e-6 * magnitude)
            << shape << ", token " << token << ", row " << row;
      }
    }
  }
}

TEST_P(Int8Linear, GivesThePortableBitsForEveryDtype) {
  uint64_t seed = 1;
  for (const Shape& shape : kShapes) {
    for (const DType dtype : {DType::kFloat32, DType::kBFloat16, DType::kFloat16}) {
      for (const DType scale_dtype : {DType::kFloat32, DType::kBFloat16, DType::kFloat16}) {
        const Problem problem(shape, dtype, scale_dtype, ++seed);
        ASSERT_EQ(problem.run(GetParam()).bytes(), problem.run(CpuIsa::kPortable).bytes()) << shape;
      }
    }
  }
}

TEST_P(Int8Linear, DoesNotDependOnTheSplitOfRowsNorOnTheOtherTokens) {
  const Shape shape{13, 100, 192, 32};
  const Problem problem(shape, DType::kFloat32, DType::kBFloat16, 5);
  const auto whole = problem.run(GetParam()).bytes();
  for (const int64_t parts : {2, 3, 7, 100}) {
    EXPECT_EQ(problem.run(GetParam(), parts).bytes(), whole);
  }
}

TEST_P(Int8Linear, DoesNotSaturate) {
  for (const int64_t group_size : {32, 128, 4096}) {
    Problem problem({2, 3, 4096, group_size}, DType::kFloat32, DType::kFloat32, 3);
    problem.saturate();
    const TypedBuffer output = problem.run(GetParam());
    for (int64_t i = 0; i < 6; ++i) {
      const auto [value, magnitude] = problem.answer(i / 3, i % 3);
      EXPECT_NEAR(output.at(i), value, 1e-6 * magnitude);
    }
  }
}

TEST_P(Int8Linear, ANanTokenIsNanAndLeavesTheOthersAlone) {
  const Shape shape{8, 40, 64, 32};
  Problem problem(shape, DType::kFloat32, DType::kFloat32, 3);
  const TypedBuffer before = problem.run(GetParam());
  problem.make_token_nan(2);
  const TypedBuffer after = problem.run(GetParam());
  for (int64_t i = 0; i < shape.tokens * shape.rows; ++i) {
    if (i / shape.rows == 2) {
      EXPECT_TRUE(std::isnan(after.at(i)));
    } else {
      EXPECT_EQ(after.at(i), before.at(i));
    }
  }
}

TEST(Int8LinearLimits, AreTheSymmetricGridAndGroupsOfEights) {
  kernels::GroupedMatrix weight{
      GridKind::kSymmetricInt4, DType::kFloat32, DType::kFloat32, 4, 48, 24};
  EXPECT_TRUE(can_run_int8_linear(weight));
  weight.group_size = 12;
  EXPECT_FALSE(can_run_int8_linear(weight));
  weight.group_size = 24;
  weight.grid = GridKind::kAffineInt4;
  EXPECT_FALSE(can_run_int8_linear(weight));
}

}  // namespace
}  // namespace nibble::tests
