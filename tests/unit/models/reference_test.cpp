#include <nibble/io/safetensors.h>
#include <nibble/models/loading.h>
#include <nibble/nn/parameters.h>
#include <nibble/tensor_io/tensor_data.h>

#include <torch/torch.h>

#include <gtest/gtest.h>

#include <filesystem>

// Tiny random checkpoints against transformers: tests/data/tiny_models/generate.py.
namespace nibble::models {
namespace {

using torch::Tensor;

constexpr double kLogitTolerance = 2e-4;     // absolute; logits reach 7
constexpr double kGradientTolerance = 1e-4;  // relative to the largest element

class TinyReference : public ::testing::TestWithParam<const char*> {
 protected:
  const std::filesystem::path folder_ =
      std::filesystem::path(NIBBLE_SOURCE_DIR) / "tests/data/tiny_models" / GetParam();
  const io::SafetensorsFile reference_{folder_ / "reference.safetensors"};

  Tensor expected(const std::string& name) const {
    return tensor_io::to_tensor(reference_.at(name));
  }
};

TEST_P(TinyReference, LogitsLossAndGradients) {
  const auto model = load_model_from_checkpoint(folder_);
  const Tensor logits = model->forward(expected("input_ids"));
  EXPECT_LE((logits - expected("logits")).abs().max().item<double>(), kLogitTolerance);

  const Tensor loss =
      torch::nn::functional::cross_entropy(logits.flatten(0, 1), expected("labels").flatten());
  EXPECT_NEAR(loss.item<double>(), expected("loss").item<double>(), 1e-5);
  loss.backward();
  for (const auto& [name, parameter] : nn::unique_named_parameters(*model)) {
    const Tensor gradient = expected("grad." + name);
    EXPECT_LE((parameter.grad() - gradient).abs().max().item<double>(),
              kGradientTolerance * gradient.abs().max().item<double>() + 1e-7)
        << name;
  }
  EXPECT_EQ(nn::unique_named_parameters(*model).size() + 4, reference_.names().size());
}

TEST_P(TinyReference, InBFloat16) {
  const auto model = load_model_from_checkpoint(folder_, {.dtype = torch::kBFloat16});
  const Tensor logits = model->forward(expected("input_ids"));
  EXPECT_EQ(logits.scalar_type(), torch::kBFloat16);
  // bfloat16 has 8 bits: a few of their roundings.
  EXPECT_LE((logits.to(torch::kFloat) - expected("logits")).abs().mean().item<double>(), 0.05);
}

TEST_P(TinyReference, ThroughTheCache) {
  const torch::NoGradGuard no_grad;
  const auto model = load_model_from_checkpoint(folder_);
  const Tensor tokens = expected("input_ids");
  // The last two pieces continue a cache, with and without a causal order among their tokens; the
  // first is long enough for all that follows to have the same rotation.
  const int64_t length = tokens.size(1);
  KVCache cache = model->make_cache(2, length);
  std::vector<Tensor> pieces;
  for (const auto& [start, end] : {std::pair<int64_t, int64_t>{0, length - 3},
                                   {length - 3, length - 1},
                                   {length - 1, length}}) {
    pieces.push_back(model->forward(tokens.slice(1, start, end), {.cache = &cache}));
  }
  EXPECT_LE((torch::cat(pieces, 1) - expected("logits")).abs().max().item<double>(),
            kLogitTolerance);
}

INSTANTIATE_TEST_SUITE_P(Models, TinyReference,
                         ::testing::Values("llama_tied", "llama3_rope_head_dim",
                                           "llama_bias_linear_rope", "mistral_window", "qwen2",
                                           "qwen2_layer_windows", "qwen2_yarn", "qwen3",
                                           "mistral_yarn", "phi3_long", "phi4_mini", "gemma2",
                                           "gemma3", "llama_vocab_32003"),
                         [](const auto& test) { return std::string(test.param); });

}  // namespace
}  // namespace nibble::models
