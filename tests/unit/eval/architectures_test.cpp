#include <nibble/eval/model_loading.h>
#include <nibble/nn/parameters.h>
#include <nibble/quantization/quantized_checkpoint.h>
#include <nibble/quantization/quantizer.h>

#include <torch/torch.h>

#include <gtest/gtest.h>

#include <filesystem>
#include <set>

#include "support/temp_dir.h"

// Quantization-aware training, conversion and the way through a file, for every architecture: the
// tiny models of tests/data/tiny_models.
namespace nibble::eval {
namespace {

using torch::Tensor;

constexpr int64_t kGroupSize = 4;  // divides every width of the tiny models

class QatOf : public ::testing::TestWithParam<const char*> {
 protected:
  std::shared_ptr<models::CausalLMImpl> load() const {
    auto model = load_model_from_checkpoint(std::filesystem::path(NIBBLE_SOURCE_DIR) /
                                            "tests/data/tiny_models" / GetParam());
    model->eval();
    return model;
  }

  const Int8DynActInt4WeightQATQuantizer quantizer_{kGroupSize};
  const Tensor tokens_ = torch::arange(3, 23).view({2, 10});
};

TEST_P(QatOf, EveryLinearButTheHeadIsSwapped) {
  const auto model = load();
  std::set<std::string> swapped;
  for (const LayerReport& layer : quantizer_.prepare(*model).layers) {
    EXPECT_EQ(layer.swapped, layer.path != "lm_head") << layer.path;
    if (layer.swapped) swapped.insert(layer.path + ".weight");
  }
  for (const auto& [name, parameter] : nn::unique_named_parameters(*model)) {
    const bool is_projection = name.ends_with("_proj.weight");
    EXPECT_EQ(swapped.count(name), is_projection ? 1u : 0u) << name;
  }
}

TEST_P(QatOf, TrainsEveryParameter) {
  const auto model = load();
  const Tensor plain = model->forward(tokens_);
  quantizer_.prepare(*model);
  const Tensor logits = model->forward(tokens_);
  EXPECT_FALSE(torch::equal(logits, plain));
  logits.logsumexp(-1).sum().backward();
  for (const auto& [name, parameter] : nn::unique_named_parameters(*model)) {
    ASSERT_TRUE(parameter.grad().defined()) << name;
    EXPECT_TRUE(parameter.grad().isfinite().all().item<bool>()) << name;
    EXPECT_GT(parameter.grad().abs().max().item<double>(), 0) << name;
  }
  disable_fake_quant(*model);
  EXPECT_TRUE(torch::equal(model->forward(tokens_), plain));
}

TEST_P(QatOf, ConvertAndTheFileGiveThePreparedBits) {
  const auto model = load();
  quantizer_.prepare(*model);
  const auto without_gradient = [&] {
    const torch::NoGradGuard no_grad;  // single kernels between the Linears
    return model->forward(tokens_);
  };
  const Tensor prepared = model->forward(tokens_);
  const Tensor prepared_without_gradient = without_gradient();
  quantizer_.convert(*model);
  EXPECT_TRUE(torch::equal(model->forward(tokens_), prepared));
  EXPECT_TRUE(torch::equal(without_gradient(), prepared_without_gradient));

  const torch::NoGradGuard no_grad;
  model->eval();  // the integer products, which leave roundings out
  const Tensor converted = model->forward(tokens_);
  // 1e-4 is for a Linear: a last bit may move the next one's input to its neighbouring code.
  EXPECT_LE((converted - prepared).norm().item<double>(), 1e-2 * prepared.norm().item<double>());

  const testing::TempDir folder;
  save_quantized(*model, model->config_json(), folder / "quantized", nullptr);
  const LoadedModel loaded = load_any_model(folder / "quantized");
  loaded.model->eval();
  EXPECT_TRUE(torch::equal(loaded.model->forward(tokens_), converted));

  models::KVCache cache = loaded.model->make_cache(2, 10);
  const Tensor start = loaded.model->forward(tokens_.slice(1, 0, 9), {.cache = &cache});
  const Tensor end = loaded.model->forward(tokens_.slice(1, 9, 10), {.cache = &cache});
  EXPECT_LE((torch::cat({start, end}, 1) - converted).abs().max().item<double>(), 1e-4);
}

INSTANTIATE_TEST_SUITE_P(Models, QatOf,
                         ::testing::Values("llama_bias_linear_rope", "mistral_window", "qwen2",
                                           "qwen3", "phi3_long", "phi4_mini", "gemma2", "gemma3"),
                         [](const auto& test) { return std::string(test.param); });

}  // namespace
}  // namespace nibble::eval
