#include <nibble/ops/cache_scope.h>
#include <nibble/ops/fake_quant.h>

#include <torch/torch.h>

#include <gtest/gtest.h>

// On a machine with a GPU: the operators on CUDA tensors give the CPU's bits, and the Linear built
// on them the CPU's values as far as matrix products allow.
namespace nibble::ops {
namespace {

using torch::Tensor;

class OnCuda : public testing::Test {
 protected:
  void SetUp() override {
    if (!torch::cuda::is_available()) GTEST_SKIP() << "no CUDA device";
  }
};

Tensor random(std::vector<int64_t> shape, at::ScalarType dtype) {
  torch::manual_seed(41);
  return torch::randn(shape).to(dtype);
}

/// NaN never appears here, so equal values are equal bits up to the sign of zero.
void expect_same(const Tensor& cuda, const Tensor& cpu, const char* what) {
  ASSERT_TRUE(cuda.is_cuda()) << what;
  EXPECT_TRUE(torch::equal(cuda.cpu(), cpu)) << what;
}

at::ScalarType scale_dtype_of(bool symmetric, at::ScalarType dtype) {
  return symmetric ? dtype : at::kBFloat16;
}

TEST_F(OnCuda, WeightsHaveTheCpusBitsForwardAndBackward) {
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16, at::kHalf}) {
    for (const bool symmetric : {true, false}) {
      const at::ScalarType scales = scale_dtype_of(symmetric, dtype);
      Tensor cpu = random({96, 256}, dtype).requires_grad_();
      Tensor cuda = cpu.detach().cuda().requires_grad_();
      const Tensor upstream = random({96, 256}, dtype);
      const Tensor want = fake_quantize_weight(cpu, 64, symmetric, scales);
      const Tensor got = fake_quantize_weight(cuda, 64, symmetric, scales);
      expect_same(got, want, "fq(W)");
      want.backward(upstream);
      got.backward(upstream.cuda());
      expect_same(cuda.grad(), cpu.grad(), "gradient");
      const auto [codes, scale, zero] = quantize_weight(cpu, 64, symmetric, scales);
      const auto [cuda_codes, cuda_scale, cuda_zero] = quantize_weight(cuda, 64, symmetric, scales);
      expect_same(cuda_codes, codes, "codes");
      expect_same(cuda_scale, scale, "scales");
      expect_same(cuda_zero, zero, "zeros");
      expect_same(dequantize_weight(cuda_codes, cuda_scale, cuda_zero, symmetric, dtype), want,
                  "dequantized");
      expect_same(pack_int4(cuda_codes, symmetric), pack_int4(codes, symmetric), "packed");
    }
  }
}

TEST_F(OnCuda, ActivationsHaveTheCpusBitsForwardAndBackward) {
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16, at::kHalf}) {
    for (const std::vector<int64_t>& shape :
         {std::vector<int64_t>{33, 2048}, {2, 3, 1536}, {576}, {4, 77}, {0, 64}}) {
      Tensor cpu = random(shape, dtype).requires_grad_();
      Tensor cuda = cpu.detach().cuda().requires_grad_();
      const Tensor want = fake_quantize_activation(cpu);
      const Tensor got = fake_quantize_activation(cuda);
      expect_same(got, want, "fq(x)");
      const Tensor upstream = random(shape, dtype);
      want.backward(upstream);
      got.backward(upstream.cuda());
      expect_same(cuda.grad(), cpu.grad(), "gradient");
      if (dtype == at::kFloat) {
        expect_same(fake_quantize_activation(cuda.detach(), at::kBFloat16),
                    fake_quantize_activation(cpu.detach(), at::kBFloat16), "fq(x) in bfloat16");
      }
    }
  }
}

TEST_F(OnCuda, NonContiguousRowsAreReadInPlace) {
  const Tensor whole = random({40, 320}, at::kFloat);
  const Tensor rows = whole.narrow(1, 32, 256);
  expect_same(fake_quantize_weight(whole.cuda().narrow(1, 32, 256), 32, true, at::kFloat),
              fake_quantize_weight(rows, 32, true, at::kFloat), "narrowed");
  expect_same(fake_quantize_weight(whole.cuda().t(), 20, true, at::kFloat),
              fake_quantize_weight(whole.t(), 20, true, at::kFloat), "transposed");
}

struct Grads {
  Tensor y, x, weight;
};

Grads linear(const torch::Device& device, bool symmetric, bool in_scope) {
  Tensor x = random({2, 48, 256}, at::kFloat).to(device).requires_grad_();
  Tensor weight = random({128, 256}, at::kFloat).to(device).requires_grad_();
  std::optional<CacheScope> scope;
  if (in_scope) scope.emplace();
  Tensor y;
  for (int pass = 0; pass < 2; ++pass) {
    y = fake_quantized_linear(fake_quantize_activation(x), weight, {}, 32, symmetric,
                              at::kBFloat16);
    y.square().mean().backward();
  }
  if (scope.has_value()) scope->finalize_gradients();
  return {y.detach().cpu(), x.grad().cpu(), weight.grad().cpu()};
}

TEST_F(OnCuda, TheLinearGivesTheCpusValues) {
  for (const bool symmetric : {true, false}) {
    for (const bool in_scope : {true, false}) {
      const Grads cpu = linear(torch::kCPU, symmetric, in_scope);
      const Grads cuda = linear(torch::kCUDA, symmetric, in_scope);
      EXPECT_TRUE(torch::allclose(cuda.y, cpu.y, 1e-4, 1e-3));
      EXPECT_TRUE(torch::allclose(cuda.x, cpu.x, 1e-4, 1e-6));
      EXPECT_TRUE(torch::allclose(cuda.weight, cpu.weight, 1e-4, 1e-6));
    }
  }
}

TEST_F(OnCuda, TheQuantizedLinearGivesThatOfItsValues) {
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16, at::kHalf}) {
    for (const bool symmetric : {true, false}) {
      for (const int64_t tokens : {1, 7, 64, 65}) {
        const Tensor x = random({tokens, 1, 256}, dtype).cuda();
        const Tensor bias = random({96}, dtype).cuda();
        const auto [codes, scales, zeros] = quantize_weight(
            random({96, 256}, dtype).cuda(), 64, symmetric, scale_dtype_of(symmetric, dtype));
        const Tensor packed = pack_int4(codes, symmetric);
        const Tensor values = dequantize_weight(codes, scales, zeros, symmetric, dtype);
        const Tensor want =
            torch::linear(x.to(at::kDouble), values.to(at::kDouble), bias.to(at::kDouble));
        const Tensor got = quantized_linear(x, packed, scales, zeros, bias, symmetric);
        const double rounding = dtype == at::kFloat ? 1e-6 : dtype == at::kHalf ? 1e-3 : 8e-3;
        EXPECT_EQ(got.scalar_type(), dtype);
        EXPECT_TRUE(torch::allclose(got.to(at::kDouble), want, 2 * rounding, 16 * rounding))
            << tokens << " tokens, " << c10::toString(dtype);
      }
    }
  }
}

}  // namespace
}  // namespace nibble::ops
