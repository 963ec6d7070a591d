#include <nibble/core/error.h>
#include <nibble/nn/parameters.h>

#include <gtest/gtest.h>

#include "tiny_model.h"

namespace nibble::models {
namespace {

using testing::tiny_config;
using testing::tiny_model;
using testing::tiny_tokens;
using testing::with;
using torch::Tensor;

// Other shapes of the same sums: a few units in the last place of logits of about 5.
constexpr double kReordered = 1e-5;

void expect_close(const Tensor& actual, const Tensor& expected) {
  ASSERT_EQ(actual.sizes(), expected.sizes());
  EXPECT_LE((actual - expected).abs().max().item<double>(), kReordered);
}

TEST(Decoder, ShapesOfLogitsAndHiddenStates) {
  const auto model = tiny_model();
  const Tensor tokens = tiny_tokens(2, 7);
  const Tensor hidden = model->hidden_states(tokens, {});
  EXPECT_EQ(hidden.sizes(), at::IntArrayRef({2, 7, 24}));
  const Tensor logits = model->forward(tokens);
  EXPECT_EQ(logits.sizes(), at::IntArrayRef({2, 7, 61}));
  const Tensor wanted = torch::tensor({1, 5, 9});
  expect_close(model->logits(hidden.flatten(0, 1).index_select(0, wanted)),
               logits.flatten(0, 1).index_select(0, wanted));
}

TEST(Decoder, ALaterTokenChangesNothingBefore) {
  const auto model = tiny_model();
  Tensor tokens = tiny_tokens(1, 9);
  const Tensor before = model->forward(tokens).slice(1, 0, 8);
  tokens[0][8] = (tokens[0][8] + 1) % 61;
  expect_close(model->forward(tokens).slice(1, 0, 8), before);
}

TEST(Decoder, TheCacheGivesTheFullForward) {
  const torch::NoGradGuard no_grad;
  for (const bool window : {false, true}) {
    nlohmann::json config = with(tiny_config(), "architectures", {"MistralForCausalLM"});
    config["sliding_window"] = window ? nlohmann::json(4) : nlohmann::json();
    const auto model = tiny_model(config);
    const Tensor tokens = tiny_tokens(2, 12);
    KVCache cache = model->make_cache(2, 12);
    std::vector<Tensor> pieces;
    for (const auto& [start, end] : {std::pair{0, 5}, {5, 6}, {6, 7}, {7, 11}, {11, 12}}) {
      pieces.push_back(model->forward(tokens.slice(1, start, end), {.cache = &cache}));
    }
    expect_close(torch::cat(pieces, 1), model->forward(tokens));
    EXPECT_EQ(cache.length(), 12);
    EXPECT_THROW(model->forward(tokens.slice(1, 0, 1), {.cache = &cache}), Error);
    cache.truncate(5);
    expect_close(model->forward(tokens.slice(1, 5, 6), {.cache = &cache}), pieces[1]);
  }
}

TEST(Decoder, TheCacheRefusesToRecordGradients) {
  const auto model = tiny_model();
  KVCache cache = model->make_cache(1, 4);
  EXPECT_THROW(model->forward(tiny_tokens(1, 2), {.cache = &cache}), Error);
}

TEST(Decoder, PaddingOnEitherSideChangesNoRealToken) {
  const auto model = tiny_model();
  const Tensor tokens = tiny_tokens(1, 6);
  const Tensor expected = model->forward(tokens);
  const Tensor padding = torch::zeros({1, 3}, torch::kLong);
  expect_close(model->forward(torch::cat({tokens, padding}, 1)).slice(1, 0, 6), expected);

  const Tensor mask = torch::cat({padding, torch::ones({1, 6}, torch::kLong)}, 1);
  const Tensor positions = torch::cat({padding, torch::arange(6).unsqueeze(0)}, 1);
  const Tensor left = model->forward(torch::cat({padding, tokens}, 1),
                                     {.attention_mask = mask, .position_ids = positions});
  expect_close(left.slice(1, 3), expected);
  EXPECT_TRUE(left.isfinite().all().item<bool>());
}

TEST(Decoder, PackedSegmentsEqualRowsOfTheirOwn) {
  const auto model = tiny_model();
  const Tensor first = tiny_tokens(1, 5, 1);
  const Tensor second = tiny_tokens(1, 4, 2);
  const Tensor segments = torch::tensor({{0, 0, 0, 0, 0, 1, 1, 1, 1}});
  expect_close(model->forward(torch::cat({first, second}, 1), {.segment_ids = segments}),
               torch::cat({model->forward(first), model->forward(second)}, 1));
}

TEST(Decoder, EveryParameterGetsAGradient) {
  const auto model = tiny_model(with(tiny_config(), "attention_bias", true));
  model->forward(tiny_tokens(2, 8)).logsumexp(-1).sum().backward();
  for (const auto& [name, parameter] : nn::unique_named_parameters(*model)) {
    ASSERT_TRUE(parameter.grad().defined()) << name;
    // Softmax does not see what a key bias adds to every score of a query.
    if (!name.ends_with("k_proj.bias")) {
      EXPECT_GT(parameter.grad().abs().max().item<double>(), 0) << name;
    }
  }
}

TEST(Decoder, ATiedParameterIsListedOnce) {
  const auto tied = tiny_model();
  EXPECT_TRUE(tied->has_tied_embeddings());
  EXPECT_TRUE(tied->lm_head->weight.is_same(tied->model->embed_tokens->weight));
  EXPECT_EQ(nn::unique_named_parameters(*tied).size() + 1, tied->named_parameters().size());
  for (const auto& entry : nn::unique_named_parameters(*tied))
    EXPECT_NE(entry.first, "lm_head.weight");

  const auto untied = tiny_model(with(tiny_config(), "tie_word_embeddings", false));
  EXPECT_FALSE(untied->has_tied_embeddings());
  EXPECT_EQ(nn::unique_named_parameters(*untied).size(), untied->named_parameters().size());
}

TEST(Decoder, ACloneIsDeepAndStaysTied) {
  const auto model = tiny_model();
  model->model->layers[0]->as<DecoderLayerImpl>()->mlp->up_proj->prepare({.group_size = 8});
  model->eval();
  const auto copy = std::dynamic_pointer_cast<DecoderLMImpl>(model->clone());
  ASSERT_NE(copy, nullptr);
  EXPECT_TRUE(copy->has_tied_embeddings());
  EXPECT_FALSE(copy->is_training());
  const Tensor tokens = tiny_tokens(1, 5);
  const torch::NoGradGuard no_grad;  // another mode has other bits
  const Tensor expected = model->forward(tokens);
  EXPECT_TRUE(torch::equal(copy->forward(tokens), expected));
  for (const auto& parameter : copy->parameters()) parameter.zero_();
  EXPECT_TRUE(torch::equal(model->forward(tokens), expected));
}

TEST(Decoder, ATieSurvivesAChangeOfDtype) {
  const auto model = tiny_model();
  const Tensor expected = model->forward(tiny_tokens(1, 6));
  model->to(torch::kBFloat16);
  EXPECT_TRUE(model->has_tied_embeddings());
  const Tensor logits = model->forward(tiny_tokens(1, 6));
  EXPECT_EQ(logits.scalar_type(), torch::kBFloat16);
  EXPECT_LE((logits.to(torch::kFloat) - expected).abs().max().item<double>(),
            0.05 * expected.abs().max().item<double>());
}

TEST(Decoder, RefusesWhatIsNoBatchOfTokens) {
  const auto model = tiny_model();
  EXPECT_THROW(model->forward(torch::zeros({4}, torch::kLong)), Error);
  EXPECT_THROW(model->forward(torch::zeros({1, 4})), Error);
  EXPECT_THROW(model->forward(torch::full({1, 4}, 61, torch::kLong)), Error);
  EXPECT_THROW(model->forward(torch::full({1, 4}, -1, torch::kLong)), Error);
  EXPECT_THROW(model->forward(tiny_tokens(2, 4), {.attention_mask = torch::ones({2, 3})}), Error);
  EXPECT_THROW(model->forward(tiny_tokens(2, 4), {.segment_ids = tiny_tokens(1, 4)}), Error);
  EXPECT_THROW(model->forward(tiny_tokens(2, 4), {.position_ids = tiny_tokens(2, 3)}), Error);
}

}  // namespace
}  // namespace nibble::models
