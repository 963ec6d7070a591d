#include <nibble/core/error.h>
#include <nibble/nn/embedding.h>
#include <nibble/ops/fake_quant.h>

#include <torch/torch.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace nibble::nn {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;
using torch::Tensor;

const QuantizationSpec kSpec{Scheme::k8da4w, 16, at::kFloat, WeightGrid::kSymmetric};

Embedding make_embedding(std::optional<int64_t> padding_id = std::nullopt) {
  torch::manual_seed(3);
  return Embedding(torch::randn({20, 64}).set_requires_grad(true), padding_id);
}

Tensor fake_quantized(const Tensor& weight) {
  return ops::fake_quantize_weight(weight, 16, true, at::kFloat);
}

TEST(Embedding, LooksUpRowsOfTheFakeQuantizedWeight) {
  Embedding embedding = make_embedding();
  const Tensor weight = embedding->weight;
  const Tensor ids = torch::tensor({{3, 19, 0}, {3, 7, 3}});
  EXPECT_TRUE(torch::equal(embedding->forward(ids), torch::embedding(weight, ids)));
  embedding->prepare(kSpec);
  EXPECT_TRUE(embedding->weight.is_same(weight));
  EXPECT_TRUE(torch::equal(embedding->forward(ids), torch::embedding(fake_quantized(weight), ids)));
  EXPECT_EQ(embedding->forward(torch::empty({2, 0}, at::kLong)).sizes(),
            at::IntArrayRef({2, 0, 64}));
  embedding->set_fake_quant_enabled(false);
  EXPECT_TRUE(torch::equal(embedding->forward(ids), torch::embedding(weight, ids)));
}

TEST(Embedding, TheGradientPassesTheStraightThroughEstimator) {
  Embedding embedding = make_embedding();
  embedding->prepare(kSpec);
  const Tensor ids = torch::tensor({3, 19, 0});
  const Tensor upstream = torch::randn({3, 64});
  const auto gradient = [&](const Tensor& rows) {
    return torch::autograd::grad({rows}, {embedding->weight}, {upstream})[0];
  };
  const Tensor actual = gradient(embedding->forward(ids));
  EXPECT_TRUE(
      torch::equal(actual, gradient(torch::embedding(fake_quantized(embedding->weight), ids))));
  EXPECT_FALSE(torch::equal(actual, gradient(torch::embedding(embedding->weight, ids))))
      << "clipped weights get none";
}

TEST(Embedding, ThePaddingRowGetsNoGradient) {
  Embedding embedding = make_embedding(7);
  embedding->prepare(kSpec);
  embedding->forward(torch::tensor({7, 8})).sum().backward();
  EXPECT_EQ(embedding->weight.grad()[7].abs().max().item<float>(), 0);
  EXPECT_GT(embedding->weight.grad()[8].abs().max().item<float>(), 0);
}

TEST(Embedding, ConvertKeepsTheLookUps) {
  Embedding embedding = make_embedding();
  EXPECT_THAT([&] { embedding->convert(); }, ThrowsMessage<Error>(HasSubstr("prepared")));
  const Tensor shared = embedding->weight;
  const Tensor before = shared.detach().clone();
  embedding->prepare(kSpec);
  const Tensor expected = embedding->forward(torch::arange(20));
  embedding->convert();
  EXPECT_FALSE(embedding->spec().has_value());
  EXPECT_TRUE(torch::equal(embedding->forward(torch::arange(20)), expected));
  EXPECT_TRUE(torch::equal(shared, before)) << "who shared it keeps what it had";
  EXPECT_TRUE(embedding->parameters()[0].is_same(embedding->weight));
  EXPECT_TRUE(embedding->weight.requires_grad());
}

TEST(Embedding, ClonesInEveryState) {
  Embedding embedding = make_embedding();
  for (int stage = 0; stage < 3; ++stage) {
    if (stage == 1) embedding->prepare(kSpec);
    if (stage == 2) embedding->convert();
    const auto copy = std::dynamic_pointer_cast<EmbeddingImpl>(embedding->clone());
    EXPECT_FALSE(copy->weight.is_same(embedding->weight));
    EXPECT_TRUE(
        torch::equal(copy->forward(torch::arange(20)), embedding->forward(torch::arange(20))));
  }
}

Int8Weight int8_weight() {
  torch::manual_seed(5);
  return {torch::randint(-127, 128, {20, 64}, at::kChar), torch::rand({20, 2})};
}

TEST(Embedding, LooksUpRowsOfAnInt8Weight) {
  const Int8Weight stored = int8_weight();
  const Tensor ids = torch::tensor({{3, 19, 0}, {3, 7, 3}});
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    Embedding embedding = make_embedding();
    embedding->load_int8(stored, dtype);
    const Tensor weight =
        stored.codes.to(at::kFloat).mul(stored.scales.repeat_interleave(32, 1)).to(dtype);
    EXPECT_TRUE(torch::equal(embedding->forward(ids), torch::embedding(weight, ids)));
    EXPECT_EQ(embedding->forward(torch::empty({2, 0}, at::kLong)).sizes(),
              at::IntArrayRef({2, 0, 64}));
    EXPECT_TRUE(embedding->parameters().empty());
    EXPECT_EQ(embedding->output_options().dtype(), dtype);
  }
}

TEST(Embedding, AnInt8WeightKeepsItsIntegers) {
  Embedding embedding = make_embedding();
  embedding->load_int8(int8_weight(), at::kFloat);
  const auto copy = std::dynamic_pointer_cast<EmbeddingImpl>(embedding->clone());
  EXPECT_FALSE(copy->int8_weight.is_same(embedding->int8_weight));
  EXPECT_TRUE(
      torch::equal(copy->forward(torch::arange(20)), embedding->forward(torch::arange(20))));
  copy->to(at::kBFloat16);
  EXPECT_EQ(copy->int8_weight.codes.scalar_type(), at::kChar);
  EXPECT_TRUE(torch::equal(copy->int8_weight.scales, embedding->int8_weight.scales));
  EXPECT_TRUE(torch::equal(copy->forward(torch::arange(20)),
                           embedding->forward(torch::arange(20)).to(at::kBFloat16)));
}

TEST(Embedding, Int8Errors) {
  Embedding embedding = make_embedding();
  Int8Weight stored = int8_weight();
  const auto load = [&](const Int8Weight& weight) { embedding->load_int8(weight, at::kFloat); };
  EXPECT_THAT(
      [&] {
        load({stored.codes.narrow(0, 0, 19), stored.scales});
      },
      ThrowsMessage<Error>(HasSubstr("must be int8 [20, 64], got Char [19, 64]")));
  EXPECT_THAT(
      [&] {
        load({stored.codes, torch::rand({20, 3})});
      },
      ThrowsMessage<Error>(HasSubstr("groups dividing 64, got Float [20, 3]")));
  EXPECT_FALSE(embedding->is_int8());
  load(stored);
  EXPECT_THAT([&] { load(stored); }, ThrowsMessage<Error>(HasSubstr("in full precision")));
  EXPECT_THAT([&] { embedding->prepare(kSpec); },
              ThrowsMessage<Error>(HasSubstr("full-precision weight is gone")));
  EXPECT_THAT(
      [&] {
        embedding->forward(torch::tensor({0, 20}));
      },
      ThrowsMessage<Error>(HasSubstr("run from 0 to 20")));
}

TEST(Embedding, Errors) {
  Embedding embedding = make_embedding();
  EXPECT_THAT(
      [&] {
        embedding->forward(torch::tensor({0, 20}));
      },
      ThrowsMessage<Error>(HasSubstr("run from 0 to 20")));
  EXPECT_THAT([&] { embedding->prepare({.group_size = 48}); },
              ThrowsMessage<Error>(HasSubstr("48 does not divide")));
  EXPECT_THAT([] { Embedding(torch::zeros({3})); }, ThrowsMessage<Error>(HasSubstr("rank 1")));
}

}  // namespace
}  // namespace nibble::nn
