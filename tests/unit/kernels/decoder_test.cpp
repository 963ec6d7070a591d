#include <nibble/kernels/cpu_isa.h>

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "support/kernel_inputs.h"

namespace nibble::tests {
namespace {

using kernels::CpuIsa;
using kernels::DType;

constexpr DType kAllDTypes[] = {DType::kFloat32, DType::kBFloat16, DType::kFloat16};

/// Half a unit of the last place of values around 1.
double half_unit(DType dtype) {
  return std::ldexp(1.0, dtype == DType::kFloat32 ? -24 : dtype == DType::kBFloat16 ? -8 : -11);
}

class DecoderKernels : public testing::TestWithParam<CpuIsa> {
 protected:
  void SetUp() override {
    if (!kernels::is_supported(GetParam())) GTEST_SKIP() << "this machine cannot run them";
  }

  std::vector<float> normal(int64_t count, float deviation = 1.0f) {
    std::normal_distribution<float> distribution(0.0f, deviation);
    std::vector<float> values(static_cast<size_t>(count));
    for (float& value : values) value = distribution(random_);
    return values;
  }
  static TypedBuffer empty(DType dtype, int64_t count) {
    return {dtype, std::vector<float>(static_cast<size_t>(count), -7.0f)};
  }

  std::mt19937_64 random_{11};
};
INSTANTIATE_TEST_SUITE_P(Isa, DecoderKernels, testing::ValuesIn(kernels::kAllCpuIsas),
                         [](const auto& isa) { return std::string(name_of(isa.param)); });

TEST_P(DecoderKernels, RmsNormIsTheFormulaRoundedOnce) {
  for (const DType dtype : kAllDTypes) {
    for (const int64_t cols : {1, 7, 16, 67, 576}) {
      for (const float offset : {0.0f, 1.0f}) {
        const TypedBuffer input(dtype, normal(3 * cols, 4.0f)), weight(dtype, normal(cols));
        TypedBuffer output = empty(dtype, 3 * cols);
        rms_norm_cpu({dtype, cols, input.data(), weight.data(), 1e-5f, offset, output.data()}, 0, 3,
                     GetParam());
        for (int64_t i = 0; i < 3 * cols; ++i) {
          double mean = 0.0;
          for (int64_t col = 0; col < cols; ++col) {
            mean += std::pow(input.at(i / cols * cols + col), 2) / static_cast<double>(cols);
          }
          const double expected =
              input.at(i) / std::sqrt(mean + 1e-5) * (double{offset} + weight.at(i % cols));
          ASSERT_NEAR(output.at(i), expected, std::abs(expected) * (half_unit(dtype) + 1e-6) + 1e-7)
              << cols << " columns, element " << i;
        }
      }
    }
  }
}

TEST_P(DecoderKernels, SwigluIsTheFormula) {
  for (const DType dtype : kAllDTypes) {
    for (const int64_t count : {1, 15, 16, 100}) {
      std::vector<float> gates = normal(count, 8.0f);
      gates[0] = -200.0f;
      const TypedBuffer gate(dtype, gates), up(dtype, normal(count));
      TypedBuffer output = empty(dtype, count);
      swiglu_cpu({dtype, gate.data(), up.data(), output.data()}, 0, count, GetParam());
      for (int64_t i = 0; i < count; ++i) {
        const double activated = gate.at(i) / (1.0 + std::exp(-double{gate.at(i)}));
        const double expected = activated * up.at(i);
        ASSERT_NEAR(output.at(i), expected,
                    std::abs(expected) * (2 * half_unit(dtype) + 1e-6) + 6e-8)
            << count << " elements, element " << i;
      }
    }
  }
}

TEST_P(DecoderKernels, SwigluKeepsNaNAndTakesAnyMagnitude) {
  const float infinity = std::numeric_limits<float>::infinity();
  const TypedBuffer gate(DType::kFloat32, {NAN, 1e30f, -1e30f, infinity}),
      up(DType::kFloat32, {1.0f, 2.0f, 1.0f, 1.0f});
  TypedBuffer output = empty(DType::kFloat32, 4);
  swiglu_cpu({DType::kFloat32, gate.data(), up.data(), output.data()}, 0, 4, GetParam());
  EXPECT_TRUE(std::isnan(output.at(0)));
  EXPECT_EQ(output.at(1), 2e30f);
  EXPECT_NEAR(output.at(2), 0.0f, 1e-7f);
  EXPECT_EQ(output.at(3), infinity);
}

TEST_P(DecoderKernels, RotateHasTheBitsOfTheThreeOperations) {
  constexpr int64_t kTokens = 6, kPositions = 3, kHeads = 2;
  for (const DType dtype : kAllDTypes) {
    const auto rounded = [&](float value) { return TypedBuffer(dtype, {value}).at(0); };
    for (const auto& [head_dim, rotary_dim] : {std::pair{64, 64}, {80, 32}, {6, 6}, {8, 4}}) {
      const int64_t stride = kHeads * head_dim + 5;
      const TypedBuffer input(dtype, normal(kTokens * stride));
      const TypedBuffer cos(dtype, normal(kPositions * rotary_dim)),
          sin(dtype, normal(kPositions * rotary_dim));
      TypedBuffer output = empty(dtype, kTokens * kHeads * head_dim);
      rotate_cpu({dtype, kHeads, head_dim, rotary_dim, input.data(), stride, cos.data(), sin.data(),
                  kPositions, output.data()},
                 0, kTokens, GetParam());
      for (int64_t i = 0; i < kTokens * kHeads * head_dim; ++i) {
        const int64_t token = i / (kHeads * head_dim), element = i % head_dim;
        const int64_t head = token * stride + i / head_dim % kHeads * head_dim;
        float expected = input.at(head + element);
        if (element < rotary_dim) {
          const int64_t half = rotary_dim / 2, table = token % kPositions * rotary_dim + element;
          const float other =
              element < half ? -input.at(head + element + half) : input.at(head + element - half);
          expected = rounded(rounded(expected * cos.at(table)) + rounded(other * sin.at(table)));
        }
        ASSERT_EQ(output.at(i), expected) << head_dim << " elements a head, element " << i;
      }
    }
  }
}

/// Two rows of queries over a cache with more room than keys.
struct AttentionProblem {
  static constexpr int64_t kBatch = 2, kKvHeads = 2, kGroup = 3, kRoom = 3;
  DType dtype;
  int64_t head_dim, keys;
  bool has_bias;
  TypedBuffer query, key, value, bias;

  int64_t head_stride() const { return (keys + kRoom) * head_dim; }

  kernels::SingleQueryAttentionParams params(TypedBuffer& output) const {
    return {.dtype = dtype,
            .heads = kKvHeads * kGroup,
            .kv_heads = kKvHeads,
            .head_dim = head_dim,
            .keys = keys,
            .scale = 0.3f,
            .query = query.data(),
            .key = key.data(),
            .value = value.data(),
            .batch_stride = kKvHeads * head_stride(),
            .head_stride = head_stride(),
            .bias = has_bias ? bias.data() : nullptr,
            .bias_stride = keys,
            .output = output.data()};
  }

  /// The output of query head `head` of row `row`, in double.
  std::vector<double> expected(int64_t row, int64_t head) const {
    const int64_t cached = (row * kKvHeads + head / kGroup) * head_stride();
    const int64_t query_at = (row * kKvHeads * kGroup + head) * head_dim;
    std::vector<double> result(static_cast<size_t>(head_dim));
    double sum = 0.0;
    for (int64_t k = 0; k < keys; ++k) {
      double score = has_bias ? bias.at(row * keys + k) : 0.0;
      for (int64_t i = 0; i < head_dim; ++i) {
        score += 0.3 * query.at(query_at + i) * key.at(cached + k * head_dim + i);
      }
      sum += std::exp(score);
      for (int64_t i = 0; i < head_dim; ++i) {
        result[static_cast<size_t>(i)] += std::exp(score) * value.at(cached + k * head_dim + i);
      }
    }
    for (double& element : result) element /= sum;
    return result;
  }
};

TEST_P(DecoderKernels, AttentionIsTheSoftmaxMixOfTheValues) {
  constexpr int64_t kHeads = AttentionProblem::kKvHeads * AttentionProblem::kGroup;
  for (const DType dtype : kAllDTypes) {
    for (const int64_t head_dim : {16, 64, 80}) {
      for (const int64_t keys : {1, 5, 16, 37}) {
        for (const bool has_bias : {false, true}) {
          AttentionProblem problem{dtype, head_dim, keys, has_bias, {}, {}, {}, {}};
          const int64_t cache =
              AttentionProblem::kBatch * AttentionProblem::kKvHeads * problem.head_stride();
          problem.query = {dtype, normal(AttentionProblem::kBatch * kHeads * head_dim)};
          problem.key = {dtype, normal(cache)};
          problem.value = {dtype, normal(cache)};
          std::vector<float> bias(static_cast<size_t>(2 * keys), 0.0f);
          for (int64_t k = 0; k + 1 < keys; k += 2) {
            bias[static_cast<size_t>(k)] = -std::numeric_limits<float>::infinity();
          }
          problem.bias = {dtype, bias};
          TypedBuffer output = empty(dtype, AttentionProblem::kBatch * kHeads * head_dim);
          const auto params = problem.params(output);
          const AlignedBytes scratch(single_query_attention_scratch_bytes(params));
          const int64_t queries = AttentionProblem::kBatch * kHeads;
          single_query_attention_cpu(params, 0, 1, scratch.data(), GetParam());
          single_query_attention_cpu(params, 1, queries, scratch.data(), GetParam());
          for (int64_t i = 0; i < AttentionProblem::kBatch * kHeads * head_dim; ++i) {
            const int64_t head = i / head_dim;
            const double expected =
                problem.expected(head / kHeads, head % kHeads)[static_cast<size_t>(i % head_dim)];
            ASSERT_NEAR(output.at(i), expected, std::abs(expected) * half_unit(dtype) + 4e-6)
                << head_dim << " elements, " << keys << " keys, bias " << has_bias << ", at " << i;
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace nibble::tests
