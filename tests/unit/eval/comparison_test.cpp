#include <nibble/core/error.h>
#include <nibble/eval/comparison.h>
#include <nibble/eval/memory.h>
#include <nibble/io/file.h>
#include <nibble/quantization/quantize.h>

#include <torch/torch.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <cmath>
#include <utility>

#include "support/temp_dir.h"
#include "support/tiny_model.h"

namespace nibble::eval {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::ThrowsMessage;

const std::string kText = "The quick brown fox jumps over the lazy dog, twice.";

class ComparisonTest : public ::testing::Test {
 protected:
  void SetUp() override {
    nibble::testing::write_tiny_model(folder_ / "one", 1);
    nibble::testing::write_tiny_model(folder_ / "two", 2);
    nibble::testing::write_tiny_rows(folder_ / "rows.jsonl", 5);
  }

  ComparedModel model(const std::string& name, const std::string& directory) {
    ComparedModel model{.name = name, .path = directory};
    model.load = [path = folder_ / directory] { return load_any_model(path); };
    return model;
  }

  static ComparisonTask text_task() { return {.text = kText, .max_tokens = 40, .context = 16}; }

  nibble::testing::TempDir folder_;
};

/// Logits [T, vocab_size] of a window, in double.
at::Tensor logits(models::CausalLMImpl& model, const std::vector<int64_t>& ids) {
  const torch::NoGradGuard no_grad;
  model.eval();
  return model.forward(torch::tensor(ids, at::kLong).unsqueeze(0))[0].to(at::kDouble);
}

double kl_of_rows(const at::Tensor& reference, const at::Tensor& other) {
  double reference_sum = 0, other_sum = 0, kl = 0;
  for (int64_t v = 0; v < reference.size(0); ++v) {
    reference_sum += std::exp(reference[v].item<double>());
    other_sum += std::exp(other[v].item<double>());
  }
  for (int64_t v = 0; v < reference.size(0); ++v) {
    const double p = std::exp(reference[v].item<double>()) / reference_sum;
    const double q = std::exp(other[v].item<double>()) / other_sum;
    kl += p * std::log(p / q);
  }
  return kl;
}

TEST_F(ComparisonTest, MeasuresTheDistanceBetweenTwoModels) {
  const Comparison found = compare_models({model("a", "one"), model("b", "two")}, text_task());
  const LoadedModel one = load_any_model(folder_ / "one"), two = load_any_model(folder_ / "two");
  double kl = 0, agreeing = 0, scored = 0;
  for (size_t begin = 0; begin < 40; begin += 16) {  // a token a byte; the last window has 8
    const std::string window = kText.substr(begin, std::min<size_t>(16, 40 - begin));
    const std::vector<int64_t> ids(window.begin(), window.end() - 1);
    const at::Tensor p = logits(*one.model, ids), q = logits(*two.model, ids);
    for (int64_t t = 0; t < p.size(0); ++t) {
      kl += kl_of_rows(p[t], q[t]);
      agreeing += p[t].argmax().item<int64_t>() == q[t].argmax().item<int64_t>() ? 1 : 0;
      scored += 1;
    }
  }
  ASSERT_EQ(scored, 15 + 15 + 7);
  const TextScores& b = *found.models[1].text;
  EXPECT_NEAR(b.kl, kl / scored, 1e-4);
  EXPECT_GT(b.kl, 0.01);
  EXPECT_DOUBLE_EQ(b.top_token_agreement, agreeing / scored);
  EXPECT_EQ(b.perplexity.scored, 37);
  EXPECT_EQ(found.models[0].text->kl, 0);
  EXPECT_EQ(found.models[0].memory_bytes, memory_bytes(*one.model));
  EXPECT_GT(found.models[1].decode_tokens_per_second, 0);
  EXPECT_GT(found.models[1].prefill_tokens_per_second, 0);
}

TEST_F(ComparisonTest, MeasuresEachPartAsAlone) {
  ComparisonTask task;
  task.questions = {{"A man sits", {"he eats", "is"}, 0}, {"Then", {"it", "goes on"}, 1}};
  task.rows = data::RowSelection{.paths = {folder_ / "rows.jsonl"}};
  task.row_options.columns = data::alpaca_columns();
  ComparedModel quantized = model("int4", "one");
  quantized.spec = int8_dynamic_activation_int4_weight(32).spec;
  quantized.load = [load = quantized.load] {
    LoadedModel loaded = load();
    quantize_(*loaded.model, int8_dynamic_activation_int4_weight(32));
    return loaded;
  };
  const Comparison found = compare_models({model("fp", "one"), quantized}, task);

  const LoadedModel alone = quantized.load();
  const auto format = data::read_text_format(*alone.checkpoint);
  const auto rows = data::load_sft_dataset(*task.rows, task.row_options, format).rows;
  const ModelMeasurement& int4 = found.models[1];
  EXPECT_DOUBLE_EQ(int4.rows->loss, evaluate_rows(*alone.model, rows).loss);
  EXPECT_EQ(int4.choice->questions[1].log_likelihoods,
            evaluate_multiple_choice(*alone.model, format.tokenizer, task.questions)
                .questions[1]
                .log_likelihoods);
  EXPECT_FALSE(int4.text);
  EXPECT_LT(int4.memory_bytes, found.models[0].memory_bytes);
  EXPECT_EQ(int4.promise->most, 0.01);
  EXPECT_FALSE(found.models[0].promise);
  EXPECT_FALSE(found.models[0].lost);
}

TEST_F(ComparisonTest, RefusesModelsOfDifferentOrigin) {
  ComparedModel one = model("fp", "one"), two = model("qat", "two");
  one.origin = {.base = "smol", .data_hash = "", .steps = "60", .dtype = "float32"};
  two.origin = {.base = "smol", .data_hash = "1234", .steps = "50", .dtype = "float32"};
  const auto compare = [&](bool allow) {
    ComparisonTask task = text_task();
    task.allow_different = allow;
    return compare_models({one, two}, task);
  };
  EXPECT_THAT([&] { compare(false); },
              ThrowsMessage<Error>(HasSubstr("steps differs: fp 60, qat 50")));
  const Comparison found = compare(true);
  EXPECT_FALSE(found.checks[0].differs());
  EXPECT_FALSE(found.checks[1].differs());
  EXPECT_FALSE(found.checks[1].is_recorded_everywhere());
  EXPECT_TRUE(found.checks[2].differs());
  EXPECT_THAT(to_text(found), HasSubstr("not recorded"));
  EXPECT_TRUE(to_json(found)["comparable"][1]["values"][0].is_null());
}

TEST_F(ComparisonTest, RefusesAnotherTokenizer) {
  const auto path = folder_ / "two" / "tokenizer.json";
  nlohmann::json tokenizer = nlohmann::json::parse(io::read_text_file(path));
  std::swap(tokenizer["model"]["vocab"]["t"], tokenizer["model"]["vocab"]["h"]);
  io::write_file_atomically(path, tokenizer.dump());
  ComparisonTask task = text_task();
  EXPECT_THAT(
      [&] {
        compare_models({model("a", "one"), model("b", "two")}, task);
      },
      ThrowsMessage<Error>(HasSubstr("token ids differs")));
  task.allow_different = true;
  const Comparison found = compare_models({model("a", "one"), model("b", "two")}, task);
  EXPECT_FALSE(found.models[1].same_tokens);
  EXPECT_TRUE(to_json(found)["models"][1]["kl"].is_null());
  EXPECT_FALSE(to_json(found)["models"][1]["perplexity"].is_null());
}

TEST_F(ComparisonTest, NeedsTwoModelsAndATask) {
  EXPECT_THROW(compare_models({model("a", "one")}, text_task()), Error);
  EXPECT_THROW(compare_models({model("a", "one"), model("b", "two")}, {}), Error);
}

ModelMeasurement measured(double lost, std::optional<AccuracyPromise> promise) {
  ModelMeasurement model;
  model.lost = AccuracyLoss{lost, 0.005};
  model.promise = promise;
  return model;
}

TEST(AccuracyPromiseTest, IsThatOfTheScheme) {
  using nn::Scheme;
  EXPECT_TRUE(*measured(0.009, accuracy_promise(Scheme::k8da4w, false)).keeps_promise());
  EXPECT_FALSE(*measured(0.011, accuracy_promise(Scheme::k8da4w, false)).keeps_promise());
  EXPECT_TRUE(*measured(0.014, accuracy_promise(Scheme::k4w, false)).keeps_promise());
  EXPECT_FALSE(*measured(0.016, accuracy_promise(Scheme::k4w, false)).keeps_promise());
  EXPECT_TRUE(*measured(0.029, accuracy_promise(Scheme::k4w, true)).keeps_promise());
  EXPECT_FALSE(*measured(0.031, accuracy_promise(Scheme::k8da4w, true)).keeps_promise());
  EXPECT_TRUE(*measured(-0.02, accuracy_promise(Scheme::k8da4w, true)).keeps_promise());
  EXPECT_FALSE(measured(0.5, std::nullopt).keeps_promise());
}

TEST(ComparisonReport, ShowsPromiseAndMeasurementSideBySide) {
  MultipleChoice choice;
  choice.acc_norm = 0.5;
  choice.questions.resize(101);
  Comparison comparison;
  comparison.models = {{.name = "fp & co"}, measured(0.0123, AccuracyPromise{0, 0.01})};
  for (ModelMeasurement& model : comparison.models) model.choice = choice;
  comparison.models[1].name = "qat";
  const std::string text = to_text(comparison);
  EXPECT_THAT(text, HasSubstr("50.00 +- 5.00"));
  EXPECT_THAT(text, HasSubstr("1.23 +- 0.50"));
  EXPECT_THAT(text, HasSubstr("under 1.0: not met"));
  EXPECT_THAT(text, Not(HasSubstr("perplexity")));
  const std::string page = to_html(comparison);
  EXPECT_THAT(page, HasSubstr("<th>fp &amp; co</th>"));
  EXPECT_THAT(page, HasSubstr("<td>under 1.0: not met</td>"));
  const nlohmann::json json = to_json(comparison);
  EXPECT_EQ(json["models"][1]["hellaswag"]["promise_kept"], false);
  EXPECT_EQ(json["models"][1]["hellaswag"]["promised_lost"]["most"], 0.01);
  EXPECT_TRUE(json["models"][0]["hellaswag"]["acc_norm_lost"].is_null());
}

}  // namespace
}  // namespace nibble::eval
