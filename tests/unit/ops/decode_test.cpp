#include <nibble/core/error.h>
#include <nibble/ops/decode.h>
#include <nibble/ops/fake_quant.h>
#include <nibble/ops/int8_weight_linear.h>

#include <torch/torch.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <tuple>

// The operators of decoding against plain formulas in double on the CPU, and the CUDA kernels,
// where there is a GPU, against the CPU.
namespace nibble::ops {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;
using torch::Tensor;

struct Shape {
  int64_t heads, kv_heads, head_dim, rotary_dim, capacity;
};

/// Inputs of decode_attention for a cache that holds `position` tokens.
DecodeAttention make_inputs(const Shape& shape, int64_t position, at::ScalarType dtype, bool norms,
                            std::optional<int64_t> window) {
  torch::manual_seed(5);
  const auto random = [&](at::IntArrayRef sizes) { return torch::randn(sizes).to(dtype); };
  const Tensor angles = torch::rand({shape.capacity, shape.rotary_dim / 2}) * 6.0;
  const auto table = [&](const Tensor& half) { return torch::cat({half, half}, 1).to(dtype); };
  DecodeAttention a;
  a.query = random({shape.heads, shape.head_dim});
  a.key = random({shape.kv_heads, shape.head_dim});
  a.value = random({shape.kv_heads, shape.head_dim});
  a.key_cache = random({shape.kv_heads, shape.capacity, shape.head_dim});
  a.value_cache = random({shape.kv_heads, shape.capacity, shape.head_dim});
  a.position = torch::tensor({position}, torch::kLong);
  a.cos = table(angles.cos());
  a.sin = table(angles.sin());
  if (norms) {
    a.query_norm = random({shape.head_dim});
    a.key_norm = random({shape.head_dim});
  }
  a.norm_eps = 1e-5;
  a.scale = 1.0 / std::sqrt(static_cast<double>(shape.head_dim));
  a.window = window;
  a.scratch = decode_attention_scratch(shape.heads, a.key_cache);
  return a;
}

DecodeAttention copy_to(const DecodeAttention& a, const torch::Device& device) {
  DecodeAttention copy = a;
  for (Tensor* tensor : {&copy.query, &copy.key, &copy.value, &copy.key_cache, &copy.value_cache,
                         &copy.position, &copy.cos, &copy.sin}) {
    *tensor = tensor->to(device, tensor->scalar_type(), /*non_blocking=*/false, /*copy=*/true);
  }
  if (a.query_norm) copy.query_norm = a.query_norm->to(device);
  if (a.key_norm) copy.key_norm = a.key_norm->to(device);
  copy.scratch = decode_attention_scratch(a.query.size(0), copy.key_cache);
  return copy;
}

/// One head after the other, element by element, in double. `head` [head_dim].
Tensor rotated(const Tensor& head, const std::optional<Tensor>& norm, const DecodeAttention& a) {
  const auto position = a.position.item<int64_t>();
  Tensor x = head.to(torch::kDouble).clone();
  if (norm) x = x / torch::sqrt(x.square().mean() + a.norm_eps) * norm->to(torch::kDouble);
  const int64_t half = a.cos.size(1) / 2;
  Tensor result = x.clone();
  for (int64_t i = 0; i < half; ++i) {
    const double cos = a.cos[position][i].item<double>(), sin = a.sin[position][i].item<double>();
    const double first = x[i].item<double>(), second = x[i + half].item<double>();
    result[i] = first * cos - second * sin;
    result[i + half] = second * cos + first * sin;
  }
  return result;
}

Tensor expected_attention(const DecodeAttention& a) {
  const auto position = a.position.item<int64_t>();
  const int64_t group = a.query.size(0) / a.key.size(0);
  const int64_t first = a.window ? std::max<int64_t>(0, position + 1 - *a.window) : 0;
  std::vector<Tensor> outputs;
  for (int64_t head = 0; head < a.query.size(0); ++head) {
    const int64_t kv = head / group;
    Tensor keys = a.key_cache[kv].to(torch::kDouble).clone();
    Tensor values = a.value_cache[kv].to(torch::kDouble).clone();
    keys[position] = rotated(a.key[kv], a.key_norm, a);
    values[position] = a.value[kv].to(torch::kDouble);
    const Tensor scores = torch::matmul(keys, rotated(a.query[head], a.query_norm, a)).mul(a.scale);
    const Tensor seen = torch::softmax(scores.slice(0, first, position + 1), 0);
    outputs.push_back(torch::matmul(seen, values.slice(0, first, position + 1)));
  }
  return torch::stack(outputs);
}

TEST(DecodeAttention, IsSoftmaxAttentionOverTheCacheAndTheNewToken) {
  for (const Shape& shape : {Shape{6, 2, 8, 8, 12}, Shape{4, 4, 6, 4, 12}, Shape{3, 1, 8, 2, 12}}) {
    for (const int64_t position : {0, 5, 11}) {
      for (const bool norms : {false, true}) {
        for (const std::optional<int64_t> window : {std::optional<int64_t>(), {1}, {4}}) {
          DecodeAttention a = make_inputs(shape, position, torch::kFloat, norms, window);
          const Tensor want = expected_attention(a);
          const Tensor got = decode_attention(a);
          EXPECT_TRUE(torch::allclose(got.to(torch::kDouble), want, 1e-5, 1e-6));
          EXPECT_TRUE(torch::allclose(a.key_cache.select(1, position)[0].to(torch::kDouble),
                                      rotated(a.key[0], a.key_norm, a), 1e-5, 1e-6));
          EXPECT_TRUE(torch::equal(a.value_cache.select(1, position), a.value));
        }
      }
    }
  }
}

TEST(DecodeAttention, RefusesWhatDoesNotFit) {
  const Shape shape{6, 2, 8, 8, 12};
  const auto with = [&](auto change) {
    DecodeAttention a = make_inputs(shape, 3, torch::kFloat, false, {});
    change(a);
    return [a] { decode_attention(a); };
  };
  EXPECT_THAT(with([](auto& a) { a.position = torch::tensor({12}, torch::kLong); }),
              ThrowsMessage<Error>(HasSubstr("position must be 0 to 11, got 12")));
  EXPECT_THAT(with([](auto& a) { a.value = a.value.narrow(1, 0, 4); }),
              ThrowsMessage<Error>(HasSubstr("value must be Float [2, 8], got Float [2, 4]")));
  EXPECT_THAT(with([](auto& a) { a.query = a.query.narrow(0, 0, 5); }),
              ThrowsMessage<Error>(HasSubstr("kv_heads a divisor of heads")));
  EXPECT_THAT(with([](auto& a) { a.query_norm = torch::ones({8}); }),
              ThrowsMessage<Error>(HasSubstr("belong together")));
}

TEST(AddRmsNorm, AddsInPlaceAndNorms) {
  torch::manual_seed(1);
  Tensor residual = torch::randn({3, 24});
  const Tensor before = residual.clone(), update = torch::randn({3, 24}),
               weight = torch::randn({24});
  const Tensor got = add_rms_norm(residual, update, weight, 1e-5);
  EXPECT_TRUE(torch::equal(residual, before + update));
  const Tensor sum = residual.to(torch::kDouble);
  const Tensor want = sum / torch::sqrt(sum.square().mean(-1, true) + 1e-5) * weight;
  EXPECT_TRUE(torch::allclose(got.to(torch::kDouble), want, 1e-5, 1e-6));
  EXPECT_THAT([&] { add_rms_norm(residual, update.narrow(0, 0, 2), weight, 1e-5); },
              ThrowsMessage<Error>(HasSubstr("update must be Float [3, 24]")));
}

TEST(GatedSilu, IsTheProduct) {
  const Tensor gate = torch::tensor({-2.0f, 0.0f, 3.0f}), up = torch::tensor({5.0f, 7.0f, -1.0f});
  const Tensor want = gate / (1 + torch::exp(-gate)) * up;
  EXPECT_TRUE(torch::allclose(gated_silu(gate, up), want));
  EXPECT_THAT([&] { gated_silu(gate, up.narrow(0, 0, 2)); },
              ThrowsMessage<Error>(HasSubstr("gate is Float [3]")));
}

TEST(GreedyToken, IsTheFirstOfTheLargest) {
  EXPECT_EQ(greedy_token(torch::tensor({-1.0f, 4.0f, 4.0f, 3.0f})).item<int64_t>(), 1);
  EXPECT_THAT(
      [] {
        greedy_token(torch::ones({2, 2}));
      },
      ThrowsMessage<Error>(HasSubstr("logits must be [n]")));
}

TEST(AdvanceToken, KeepsTheTokenAtItsPosition) {
  const auto one = [](int64_t value) { return torch::tensor({value}, torch::kLong); };
  const Tensor token = one(0), position = one(5), history = torch::zeros({2}, torch::kLong);
  advance_token(one(71), token, position, history);
  advance_token(one(72), token, position, history);
  EXPECT_EQ(token.item<int64_t>(), 72);
  EXPECT_EQ(position.item<int64_t>(), 7);
  EXPECT_TRUE(torch::equal(history, torch::tensor({72, 71}, torch::kLong)));
  EXPECT_THAT([&] { advance_token(torch::zeros({1}), token, position, history); },
              ThrowsMessage<Error>(HasSubstr("one int64 each")));
}

struct Weights {
  std::vector<Tensor> packed, scales, zeros;
};

Weights make_weights(const std::vector<int64_t>& rows, int64_t cols, bool symmetric,
                     at::ScalarType dtype) {
  torch::manual_seed(3);
  Weights weights;
  for (const int64_t out : rows) {
    const auto [codes, scales, zeros] =
        quantize_weight(torch::randn({out, cols}).to(dtype), 128, symmetric, at::kBFloat16);
    weights.packed.push_back(pack_int4(codes, symmetric));
    weights.scales.push_back(scales);
    if (!symmetric) weights.zeros.push_back(zeros);
  }
  return weights;
}

TEST(QuantizedLinears, AreTheSingleProducts) {
  for (const bool symmetric : {true, false}) {
    const Weights w = make_weights({24, 8, 40}, 256, symmetric, at::kBFloat16);
    const Tensor x = torch::randn({3, 256}).to(at::kBFloat16);
    const auto got = quantized_linears(x, w.packed, w.scales, w.zeros, symmetric);
    ASSERT_EQ(got.size(), 3u);
    for (size_t i = 0; i < 3; ++i) {
      const auto zeros = symmetric ? std::optional<Tensor>() : std::optional(w.zeros[i]);
      EXPECT_TRUE(torch::equal(
          got[i], quantized_linear(x, w.packed[i], w.scales[i], zeros, {}, symmetric)));
    }
    EXPECT_THAT([&] { quantized_linears(x, w.packed, w.scales, w.scales, true); },
                ThrowsMessage<Error>(HasSubstr("zeros for each product")));
  }
}

TEST(NormQuantizedLinears, AreTheProductsOfTheNorm) {
  const Weights w = make_weights({24, 8}, 256, false, at::kFloat);
  const Tensor residual = torch::randn({2, 256}), update = torch::randn({2, 256}),
               weight = torch::randn({256}), before = residual.clone();
  for (const bool adds : {false, true}) {
    const auto given = adds ? std::optional(update) : std::optional<Tensor>();
    Tensor want_sum = residual.clone();
    const Tensor normed = add_rms_norm(want_sum, given, weight, 1e-5);
    const auto want = quantized_linears(normed, w.packed, w.scales, w.zeros, false);
    const auto [sum, got] =
        norm_quantized_linears(residual, given, weight, 1e-5, w.packed, w.scales, w.zeros, false);
    EXPECT_TRUE(torch::equal(residual, before));
    EXPECT_TRUE(torch::equal(sum, want_sum));
    EXPECT_EQ(sum.is_same(residual), !adds);
    for (size_t i = 0; i < 2; ++i) EXPECT_TRUE(torch::equal(got[i], want[i]));
  }
  EXPECT_THAT(
      [&] {
        norm_quantized_linears(residual, update.narrow(0, 0, 1), weight, 1e-5, w.packed, w.scales,
                               w.zeros, false);
      },
      ThrowsMessage<Error>(HasSubstr("update must be Float [2, 256]")));
}

TEST(GatedQuantizedLinears, AreTheProductsOfTheGate) {
  const Weights w = make_weights({24, 8}, 256, true, at::kFloat);
  const Tensor gate = torch::randn({2, 256}), up = torch::randn({2, 256});
  const auto want = quantized_linears(gated_silu(gate, up), w.packed, w.scales, {}, true);
  const auto got = gated_quantized_linears(gate, up, w.packed, w.scales, {}, true);
  for (size_t i = 0; i < 2; ++i) EXPECT_TRUE(torch::equal(got[i], want[i]));
  EXPECT_THAT(
      [&] { gated_quantized_linears(gate, up.narrow(0, 0, 1), w.packed, w.scales, {}, true); },
      ThrowsMessage<Error>(HasSubstr("gate is Float [2, 256]")));
}

class DecodeOnCuda : public testing::TestWithParam<at::ScalarType> {
 protected:
  void SetUp() override {
    if (!torch::cuda::is_available()) GTEST_SKIP() << "no CUDA device";
  }
  double tolerance() const { return GetParam() == at::kHalf ? 2e-3 : 1.6e-2; }
  void expect_near(const Tensor& got, const Tensor& want) const {
    EXPECT_TRUE(torch::allclose(got.cpu().to(torch::kDouble), want.to(torch::kDouble), tolerance(),
                                tolerance()));
  }
};
INSTANTIATE_TEST_SUITE_P(Dtype, DecodeOnCuda, testing::Values(at::kBFloat16, at::kHalf));

TEST_P(DecodeOnCuda, AttentionGivesTheCpusValues) {
  for (const Shape& shape :
       {Shape{32, 8, 64, 64, 2048}, Shape{14, 2, 64, 64, 300}, Shape{4, 4, 128, 128, 200},
        Shape{6, 2, 128, 64, 130}, Shape{2, 1, 256, 256, 700}, Shape{8, 2, 64, 64, 6000},
        Shape{40, 40, 128, 128, 2500}}) {
    for (const int64_t position : {int64_t{0}, int64_t{63}, int64_t{64}, shape.capacity - 1}) {
      for (const bool norms : {false, true}) {
        for (const std::optional<int64_t> window : {std::optional<int64_t>(), {1}, {100}}) {
          DecodeAttention cpu = make_inputs(shape, position, GetParam(), norms, window);
          DecodeAttention cuda = copy_to(cpu, torch::kCUDA);
          const Tensor want = decode_attention(cpu);
          for (int call = 0; call < 2; ++call) {  // the second finds the first one's scratch
            const Tensor got = decode_attention(cuda);
            expect_near(got, want);
          }
          expect_near(cuda.key_cache, cpu.key_cache);
          EXPECT_TRUE(torch::equal(cuda.value_cache.cpu(), cpu.value_cache));
        }
      }
    }
  }
}

TEST_P(DecodeOnCuda, NormAndGateGiveTheCpusValues) {
  torch::manual_seed(2);
  for (const int64_t cols : {8, 576, 2048, 16384, 20}) {
    const Tensor residual = torch::randn({3, cols}).to(GetParam());
    const Tensor update = torch::randn({3, cols}).to(GetParam());
    const Tensor weight = torch::randn({cols}).to(GetParam());
    for (const bool adds : {false, true}) {
      Tensor cpu = residual.clone(), cuda = residual.cuda();
      const auto given = [&](const Tensor& tensor) {
        return adds ? std::optional(tensor) : std::optional<Tensor>();
      };
      const Tensor want = add_rms_norm(cpu, given(update), weight, 1e-5);
      const Tensor got = add_rms_norm(cuda, given(update.cuda()), weight.cuda(), 1e-5);
      expect_near(got, want);
      EXPECT_TRUE(torch::equal(cuda.cpu(), cpu));
    }
    expect_near(gated_silu(residual.cuda(), update.cuda()), gated_silu(residual, update));
  }
}

TEST_P(DecodeOnCuda, Int8WeightsGiveTheProductOfTheirValues) {
  torch::manual_seed(4);
  for (const int64_t cols : {16, 576, 2048, 40}) {  // the last one is dequantized
    for (const int64_t groups : {int64_t{1}, cols / 16}) {
      const Tensor codes = torch::randint(-127, 128, {37, cols}, at::kChar);
      const Tensor scales = torch::rand({37, groups}) * 0.01;
      for (const int64_t tokens : {1, 3, 4, 9}) {
        const Tensor x = torch::randn({tokens, cols}).to(GetParam());
        expect_near(int8_weight_linear(x.cuda(), codes.cuda(), scales.cuda(), {}),
                    int8_weight_linear(x, codes, scales, {}));
      }
    }
  }
}

TEST_P(DecodeOnCuda, Int8RowsHaveTheBitsOfTheCpus) {
  torch::manual_seed(4);
  const Tensor ids = torch::tensor({36, 0, 5, 5}, torch::kLong).view({2, 2});
  for (const int64_t cols : {16, 576, 2048, 20}) {  // the last one is looked up by LibTorch
    for (const int64_t groups : {int64_t{1}, cols / 4}) {
      const Tensor codes = torch::randint(-128, 128, {37, cols}, at::kChar);
      const Tensor scales = torch::rand({37, groups}) * 0.01;
      const Tensor want = int8_embedding(codes, scales, ids, GetParam());
      EXPECT_TRUE(torch::equal(
          int8_embedding(codes.cuda(), scales.cuda(), ids.cuda(), GetParam()).cpu(), want));
    }
  }
}

TEST_P(DecodeOnCuda, TheStepAdvancesInPinnedMemory) {
  const auto one = [](int64_t value) { return torch::tensor({value}, torch::kLong).cuda(); };
  const Tensor token = one(0), position = one(5);
  const Tensor history = torch::zeros({2}, torch::kLong).pin_memory();
  advance_token(one(71), token, position, history);
  advance_token(one(72), token, position, history);
  EXPECT_EQ(token.item<int64_t>(), 72);  // waits for the device
  EXPECT_EQ(position.item<int64_t>(), 7);
  EXPECT_TRUE(torch::equal(history, torch::tensor({72, 71}, torch::kLong)));
}

TEST_P(DecodeOnCuda, TheGreedyTokenIsTheFirstOfTheLargest) {
  torch::manual_seed(9);
  for (const int64_t count : {1, 5, 8, 1023, 32003, 128256}) {
    Tensor logits = torch::randn({count}).to(GetParam());
    const auto expect = [&](int64_t token) {
      EXPECT_EQ(greedy_token(logits.cuda()).item<int64_t>(), token) << count;
    };
    expect(logits.to(at::kFloat).argmax().item<int64_t>());
    for (const int64_t at : {count - 1, count / 2, count / 3}) {  // the last one comes first
      logits[at] = 100.0;
      expect(at);
    }
    logits[count - 1] = std::nan("");
    expect(count - 1);
    logits.fill_(-3.0);
    expect(0);
    logits.fill_(-0.0);
    logits[count - 1] = 0.0;
    expect(0);
  }
}

Weights on_cuda(const Weights& cpu) {
  Weights result;
  for (const auto& [from, to] : {std::pair{&cpu.packed, &result.packed},
                                 {&cpu.scales, &result.scales},
                                 {&cpu.zeros, &result.zeros}}) {
    for (const Tensor& tensor : *from) to->push_back(tensor.cuda());
  }
  return result;
}

TEST_P(DecodeOnCuda, ProductsOfANormInOneLaunchAreThoseOfTheNormBefore) {
  for (const int64_t cols : {128, 2048, 5120, 8192}) {
    const bool symmetric = cols == 128;
    const Weights w = on_cuda(make_weights({64, 8, 37}, cols, symmetric, GetParam()));
    for (const int64_t tokens : {1, 2}) {  // two are not in one launch
      const auto random = [&](at::IntArrayRef sizes) {
        return torch::randn(sizes).to(GetParam()).cuda();
      };
      const Tensor residual = random({tokens, cols}), update = random({tokens, cols}),
                   weight = random({cols, 2}).select(1, 0);  // not contiguous
      for (const bool adds : {false, true}) {
        const auto given = adds ? std::optional(update) : std::optional<Tensor>();
        Tensor want_sum = residual.clone();
        const Tensor normed = add_rms_norm(want_sum, given, weight, 1e-5);
        const auto [sum, got] = norm_quantized_linears(residual, given, weight, 1e-5, w.packed,
                                                       w.scales, w.zeros, symmetric);
        EXPECT_TRUE(torch::equal(sum, want_sum));
        const auto want = quantized_linears(normed, w.packed, w.scales, w.zeros, symmetric);
        for (size_t i = 0; i < 3; ++i) {
          const double size = want[i].abs().max().template item<double>();
          EXPECT_LE((got[i] - want[i]).abs().max().template item<double>(), tolerance() * size);
        }
      }
    }
  }
}

TEST_P(DecodeOnCuda, ProductsOfAGateInOneLaunchAreThoseOfTheGateBefore) {
  for (const int64_t cols : {128, 2048, 5120, 14336}) {
    const bool symmetric = cols == 2048;
    const Weights w = on_cuda(make_weights({64, 37}, cols, symmetric, GetParam()));
    for (const int64_t tokens : {1, 2}) {  // two are not in one launch
      const Tensor gate = torch::randn({tokens, cols}).to(GetParam()).cuda();
      const Tensor up = torch::randn({tokens, cols}).to(GetParam()).cuda();
      const auto want =
          quantized_linears(gated_silu(gate, up), w.packed, w.scales, w.zeros, symmetric);
      const auto got = gated_quantized_linears(gate, up, w.packed, w.scales, w.zeros, symmetric);
      for (size_t i = 0; i < 2; ++i) EXPECT_TRUE(torch::equal(got[i], want[i])) << cols;
    }
  }
}

TEST_P(DecodeOnCuda, SeveralProductsInOneLaunchAreTheSingleOnes) {
  for (const bool symmetric : {true, false}) {
    const Weights w = on_cuda(make_weights({64, 8, 37}, 256, symmetric, GetParam()));
    for (const int64_t tokens : {1, 5, 9}) {
      const Tensor x = torch::randn({tokens, 256}).to(GetParam()).cuda();
      const auto got = quantized_linears(x, w.packed, w.scales, w.zeros, symmetric);
      for (size_t i = 0; i < 3; ++i) {
        const auto zeros = symmetric ? std::optional<Tensor>() : std::optional(w.zeros[i]);
        EXPECT_TRUE(torch::equal(
            got[i], quantized_linear(x, w.packed[i], w.scales[i], zeros, {}, symmetric)));
      }
    }
  }
}

}  // namespace
}  // namespace nibble::ops
