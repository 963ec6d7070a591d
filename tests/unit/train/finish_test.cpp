#include <nibble/eval/model_loading.h>
#include <nibble/eval/teacher_forcing.h>
#include <nibble/io/json.h>
#include <nibble/train/finish.h>

#include <torch/torch.h>

#include <gmock/gmock.h>

#include "unit/train/trainer_test_case.h"

namespace nibble::train {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class FinishTest : public TrainerTestCase, public ::testing::WithParamInterface<const char*> {
 protected:
  Overrides everything() const {
    return with_validation({"--qat.enabled", "--convert.enabled", "--evaluate.enabled",
                            std::string("--qat.quantizer._target_=") + GetParam(),
                            "--generate.prompts=[Say kiwi]", "--generate.max_new_tokens=4"});
  }
};

TEST_P(FinishTest, TheWrittenModelIsTheTrainedOne) {
  Trainer trainer(recipe("run", everything()));
  trainer.run();
  const auto report = finish(trainer);

  const auto loaded = eval::load_any_model(path("run") / "quantized");
  const torch::NoGradGuard no_grad;
  const at::Tensor ids = torch::arange(0, 40).unsqueeze(0);
  EXPECT_TRUE(torch::equal(loaded.model->forward(ids), trainer.model().forward(ids)));

  const auto& rows = trainer.validation_data().at("default").rows;
  const nlohmann::json json = io::read_json_file(path("run") / "evaluation.json");
  ASSERT_TRUE(report.has_value());
  EXPECT_EQ(json.at("qat").at("loss").get<double>(), eval::evaluate_rows(*loaded.model, rows).loss);
  EXPECT_EQ(json["qat"]["loss"], report->qat.loss);
  const auto source = eval::load_any_model(model_path());
  EXPECT_EQ(json["full_precision"]["loss"], eval::evaluate_rows(*source.model, rows).loss);
  EXPECT_NE(json["ptq"]["loss"], json["full_precision"]["loss"]);
  const double ratio = json.at("layers").at("ratio").get<double>();
  EXPECT_GT(ratio, 5) << "4 bits, and a scale every 32 weights";
  EXPECT_LT(ratio, 8);
}

INSTANTIATE_TEST_SUITE_P(Schemes, FinishTest,
                         ::testing::Values("Int8DynActInt4WeightQATQuantizer",
                                           "torchao.quantization.qat.Int4WeightOnlyQATQuantizer"),
                         [](const auto& scheme) {
                           return std::string(scheme.param).find("Int8") == 0 ? "8da4w" : "4w";
                         });

class FinishTiedTest : public TrainerTestCase, public ::testing::WithParamInterface<const char*> {};

TEST_P(FinishTiedTest, AQuantizedHeadIsWrittenAndReadBack) {
  Trainer trainer(
      recipe("run", {"--qat.enabled", "--convert.enabled", "--qat.modules_to_not_convert=[]",
                     std::string("--qat.tied_embedding=") + GetParam()}));
  EXPECT_EQ(trainer.quantization_report()->skipped(), 0);
  trainer.run();
  const at::Tensor ids = torch::arange(0, 40).unsqueeze(0);
  trainer.model().eval();
  const at::Tensor prepared = trainer.model().forward(ids);
  finish(trainer);
  EXPECT_TRUE(torch::equal(trainer.model().forward(ids), prepared));

  const torch::NoGradGuard no_grad;  // the kernels of inference, which leave roundings out
  const auto loaded = eval::load_any_model(path("run") / "quantized");
  loaded.model->eval();
  EXPECT_FALSE(loaded.model->has_tied_embeddings());
  EXPECT_TRUE(torch::equal(loaded.model->forward(ids), trainer.model().forward(ids)));
}

INSTANTIATE_TEST_SUITE_P(Rules, FinishTiedTest, ::testing::Values("untie", "both"),
                         [](const auto& rule) { return std::string(rule.param); });

using FinishErrorTest = TrainerTestCase;

TEST_F(FinishErrorTest, WhatCannotBeDoneAtTheEndIsSaidAtTheStart) {
  EXPECT_THAT(error_of("run", {"--convert.enabled"}), HasSubstr("qat.enabled"));
  EXPECT_THAT(error_of("run", {"--qat.enabled", "--evaluate.enabled"}),
              HasSubstr("validation_dataset"));
  EXPECT_FALSE(fs::exists(path("run"))) << "no step was trained";
}

}  // namespace
}  // namespace nibble::train
