#include <nibble/kernels/cpu_isa.h>

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "support/kernel_inputs.h"

namespace nibble::tests {
namespace {

using kernels::CpuIsa;
using kernels::DType;

class Int8WeightLinear : public testing::TestWithParam<CpuIsa> {
 protected:
  void SetUp() override {
    if (!kernels::is_supported(GetParam())) GTEST_SKIP() << "this machine cannot run them";
  }
};
INSTANTIATE_TEST_SUITE_P(Isa, Int8WeightLinear, testing::ValuesIn(kernels::kAllCpuIsas),
                         [](const auto& isa) { return std::string(name_of(isa.param)); });

/// A random problem and its exact answer.
class Problem {
 public:
  Problem(int64_t tokens, int64_t rows, int64_t cols, DType dtype, int64_t groups = 1)
      : tokens_(tokens), rows_(rows), cols_(cols), groups_(groups), dtype_(dtype) {
    std::uniform_int_distribution<int> code(-128, 127);
    for (int64_t i = 0; i < rows * cols; ++i) codes_.push_back(static_cast<int8_t>(code(random_)));
    scales_ = normal(rows * groups);
    input_ = TypedBuffer(dtype, normal(tokens * cols));
  }

  TypedBuffer run(CpuIsa isa, int64_t parts = 1) const {
    TypedBuffer output(dtype_, std::vector<float>(tokens_ * rows_, -7.0f));
    const kernels::Int8WeightLinearParams params{.rows = rows_,
                                                 .cols = cols_,
                                                 .dtype = dtype_,
                                                 .codes = codes_.data(),
                                                 .scales = scales_.data(),
                                                 .groups = groups_,
                                                 .tokens = tokens_,
                                                 .input = input_.data(),
                                                 .output = output.data()};
    AlignedBytes scratch(kernels::int8_weight_linear_scratch_bytes(params));
    for (int64_t part = 0; part < parts; ++part) {
      kernels::int8_weight_linear_cpu(params, part * rows_ / parts, (part + 1) * rows_ / parts,
                                      scratch.data(), isa);
    }
    return output;
  }

  void expect_near(const TypedBuffer& output) const {
    const int bits = dtype_ == DType::kFloat32 ? 24 : dtype_ == DType::kBFloat16 ? 8 : 11;
    for (int64_t i = 0; i < tokens_ * rows_; ++i) {
      double value = 0.0, magnitude = 0.0;
      for (int64_t col = 0; col < cols_; ++col) {
        const int64_t group = i % rows_ * groups_ + col / (cols_ / groups_);
        const double term = double{scales_[group]} * codes_[i % rows_ * cols_ + col] *
                            double{input_.at(i / rows_ * cols_ + col)};
        value += term;
        magnitude += std::abs(term);
      }
      ASSERT_NEAR(output.at(i), value, std::abs(value) * std::ldexp(1.0, -bits) + 2e-6 * magnitude)
          << tokens_ << " tokens, " << rows_ << "x" << cols_ << ", element " << i;
    }
  }

 private:
  std::vector<float> normal(int64_t count) {
    std::normal_distribution<float> distribution(0.0f, 0.1f);
    std::vector<float> result(count);
    for (float& value : result) value = distribution(random_);
    return result;
  }

  std::mt19937_64 random_{17};
  int64_t tokens_, rows_, cols_, groups_;
  DType dtype_;
  std::vector<int8_t> codes_;
  std::vector<float> scales_;
  TypedBuffer input_;
};

TEST_P(Int8WeightLinear, IsTheProductRoundedOnce) {
  for (const DType dtype : {DType::kFloat32, DType::kBFloat16, DType::kFloat16}) {
    for (const int64_t tokens : {0, 1, 2, 3, 4, 5, 8, 9}) {
      for (const int64_t cols : {1, 15, 16, 64, 67, 576}) {
        const Problem problem(tokens, 5, cols, dtype);
        problem.expect_near(problem.run(GetParam()));
      }
    }
  }
}

TEST_P(Int8WeightLinear, GivesEachGroupItsScale) {
  for (const auto& [cols, groups] : {std::pair{64, 2}, {576, 18}, {60, 5}, {7, 7}, {256, 2}}) {
    for (const int64_t tokens : {1, 2, 3, 4, 7}) {
      for (const DType dtype : {DType::kFloat32, DType::kBFloat16}) {
        const Problem problem(tokens, 5, cols, dtype, groups);
        problem.expect_near(problem.run(GetParam()));
      }
    }
  }
}

TEST_P(Int8WeightLinear, DoesNotDependOnTheSplitOfRows) {
  const Problem problem(5, 33, 100, DType::kBFloat16);
  const auto whole = problem.run(GetParam()).bytes();
  for (const int64_t parts : {2, 7, 33}) EXPECT_EQ(problem.run(GetParam(), parts).bytes(), whole);
}

}  // namespace
}  // namespace nibble::tests
