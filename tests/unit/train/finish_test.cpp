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

using FinishErrorTest = TrainerTestCase;

TEST_F(FinishErrorTest, WhatCannotBeDoneAtTheEndIsSaidAtTheStart) {
  EXPECT_THAT(error_of("run", {"--convert.enabled"}), HasSubstr("qat.enabled"));
  EXPECT_THAT(error_of("run", {"--qat.enabled", "--evaluate.enabled"}),
              HasSubstr("validation_dataset"));
  EXPECT_FALSE(fs::exists(path("run"))) << "no step was trained";
}

}  // namespace
}  // namespace nibble::train
