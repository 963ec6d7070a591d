#include <nibble/eval/teacher_forcing.h>
#include <nibble/models/loading.h>
#include <nibble/train/trainer.h>

#include <torch/torch.h>

#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>

#include "unit/train/trainer_test_case.h"

namespace nibble::train {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

using TrainerTest = TrainerTestCase;

/// Sum over targets / number of targets of rows [0, count), row by row in float64.
double expected_loss(Trainer& trainer, const data::SftDataset& dataset, size_t count) {
  const torch::NoGradGuard no_grad;
  double sum = 0;
  int64_t targets = 0;
  for (size_t r = 0; r < count; ++r) {
    const data::Row& row = dataset.rows[r];
    const at::Tensor logits =
        trainer.model().forward(torch::tensor(row.ids, at::kLong).unsqueeze(0));
    const at::Tensor log_probabilities = torch::log_softmax(logits[0].to(at::kDouble), -1);
    for (size_t t = 0; t < row.labels.size(); ++t) {
      if (row.labels[t] == data::kIgnoreIndex) continue;
      sum -= log_probabilities[static_cast<int64_t>(t)][row.labels[t]].item<double>();
      ++targets;
    }
  }
  return sum / static_cast<double>(targets);
}

TEST_F(TrainerTest, LossFalls) {
  train("run", {"--step_scheduler.max_steps=20"});
  const auto losses = column<double>("run", "loss");
  ASSERT_EQ(losses.size(), 20U);
  EXPECT_GT(losses.front(), std::log(testing::kTinyVocabulary) - 1) << "a random model";
  EXPECT_LT(losses.back(), losses.front() - 1);
}

TEST_F(TrainerTest, LossIsTheMeanOverTheTargetsOfAllMicroBatches) {
  const Recipe first_step =
      recipe("run", {"--step_scheduler.max_steps=1", "--step_scheduler.local_batch_size=2"});
  Trainer trainer(first_step);
  const auto rows =
      load_dataset(first_step.dataset, trainer.text_format(), trainer.model().config());
  const double expected = expected_loss(trainer, rows, 4);
  trainer.run();
  EXPECT_NEAR(column<double>("run", "loss")[0], expected, 1e-6 * expected);
}

TEST_F(TrainerTest, AccumulationChangesNothingButRounding) {
  const Overrides rows = {"--step_scheduler.global_batch_size=8", "--qat.enabled=false"};
  for (const std::string micro : {"1", "4", "8"}) {
    Overrides overrides = rows;
    overrides.push_back("--step_scheduler.local_batch_size=" + micro);
    train(micro, overrides);
  }
  for (const char* key : {"loss", "grad_norm"}) {
    const auto expected = column<double>("8", key);
    for (const char* run : {"1", "4"}) {
      const auto actual = column<double>(run, key);
      ASSERT_EQ(actual.size(), expected.size());
      for (size_t i = 0; i < expected.size(); ++i) {
        EXPECT_NEAR(actual[i], expected[i], 1e-5 * expected[i]) << key << " of step " << i;
      }
    }
  }
  EXPECT_EQ(column<int64_t>("1", "num_label_tokens"), column<int64_t>("8", "num_label_tokens"));
}

TEST_F(TrainerTest, DelayedStepsAreThoseOfFullPrecision) {
  train("plain");
  train("delayed", {"--qat.enabled", "--qat.delay_fake_quant_steps=3"});
  EXPECT_THAT(column<bool>("delayed", "fake_quant"),
              ElementsAre(false, false, false, true, true, true));
  EXPECT_THAT(column<bool>("plain", "fake_quant"), Each(false));
  const auto plain = column<double>("plain", "loss");
  const auto delayed = column<double>("delayed", "loss");
  for (size_t step = 0; step < 3; ++step) EXPECT_EQ(plain[step], delayed[step]);
  EXPECT_NE(plain[3], delayed[3]);
}

TEST_F(TrainerTest, ActivationsAndWeightsAreDelayedApart) {
  train("run", {"--qat.enabled", "--qat.delay_activation_fake_quant_steps=1",
                "--qat.delay_weight_fake_quant_steps=4"});
  EXPECT_THAT(column<bool>("run", "activation_fake_quant"),
              ElementsAre(false, true, true, true, true, true));
  EXPECT_THAT(column<bool>("run", "weight_fake_quant"),
              ElementsAre(false, false, false, false, true, true));
  EXPECT_THAT(column<bool>("run", "fake_quant"), ElementsAre(false, true, true, true, true, true));

  train("weights_only", {"--qat.enabled", "--qat.delay_weight_fake_quant_steps=4",
                         "--qat.delay_activation_fake_quant_steps=5"});
  train("plain");
  const auto losses = column<double>("run", "loss");
  const auto plain = column<double>("plain", "loss");
  const auto later = column<double>("weights_only", "loss");
  EXPECT_EQ(losses[0], plain[0]);
  EXPECT_NE(losses[1], plain[1]) << "activations alone change the loss";
  EXPECT_EQ(later[3], plain[3]);
  EXPECT_NE(later[4], plain[4]) << "weights alone change the loss";
}

TEST_F(TrainerTest, WeightOnlyQuantizationHasNoActivationsInTheLog) {
  train("run", {"--qat.enabled", "--qat.quantizer._target_=Int4WeightOnlyQATQuantizer"});
  EXPECT_THAT(column<bool>("run", "activation_fake_quant"), Each(false));
  EXPECT_THAT(column<bool>("run", "weight_fake_quant"), Each(true));
}

TEST_F(TrainerTest, ValidatesEveryNStepsAndWithTheLastCheckpoint) {
  Trainer trainer(
      recipe("run", with_validation({"--step_scheduler.max_steps=8",
                                     "--step_scheduler.save_checkpoint_every_epoch=false",
                                     "--step_scheduler.val_every_steps=3"})));
  trainer.run();
  EXPECT_THAT(column<int64_t>("run", "step", "validation.jsonl"), ElementsAre(2, 5, 7));
  const auto& rows = trainer.validation_data().at("default").rows;
  EXPECT_EQ(column<double>("run", "val_loss", "validation.jsonl").back(),
            eval::evaluate_rows(trainer.model(), rows, 1).loss);
}

TEST_F(TrainerTest, LogsTheLearningRateTheGradientAndTheTokens) {
  train("run");
  const nlohmann::json record = log("run").front();
  EXPECT_EQ(record["step"], 0);
  EXPECT_EQ(record["lr"], 3.0e-3);
  EXPECT_GT(record["grad_norm"], 0);
  EXPECT_GT(record["num_tokens_per_step"], record["num_label_tokens"]);
  EXPECT_GT(record["mem"], 0);
}

TEST_F(TrainerTest, EpochsDecideTheLength) {
  Trainer trainer(
      recipe("run", {"--step_scheduler.max_steps=none", "--step_scheduler.num_epochs=2"}));
  EXPECT_EQ(trainer.total_steps(), 12);
}

TEST_F(TrainerTest, RefusesSeveralProcesses) {
  ::setenv("WORLD_SIZE", "2", 1);
  const std::string error = error_of("run", {});
  ::unsetenv("WORLD_SIZE");
  EXPECT_THAT(error, HasSubstr("WORLD_SIZE is 2"));
}

TEST_F(TrainerTest, RefusesADelayThatTheEpochsDoNotReach) {
  const Overrides epoch = {"--step_scheduler.max_steps=none", "--step_scheduler.num_epochs=1",
                           "--qat.enabled", "--qat.delay_fake_quant_steps=6"};
  EXPECT_THAT(error_of("run", epoch),
              AllOf(HasSubstr("qat.delay_fake_quant_steps"), HasSubstr("6")));
  Overrides allowed = epoch;
  allowed.push_back("--qat.allow_delay_beyond_training");
  EXPECT_EQ(error_of("run", allowed), "no error");
}

TEST_F(TrainerTest, NamesTheGradientThatIsNotANumber) {
  Trainer trainer(recipe("run"));
  for (const auto& item : trainer.model().named_parameters()) {
    if (item.key() != "model.layers.1.mlp.down_proj.weight") continue;
    const torch::NoGradGuard no_grad;
    item.value()[0][0] = std::numeric_limits<float>::quiet_NaN();
  }
  try {
    trainer.run();
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr("the gradient of model."), HasSubstr("NaN")));
  }
  EXPECT_TRUE(log("run").empty()) << "the step was not done";
}

TEST_F(TrainerTest, NamesTheKeyAndTheGroupSizesThatFit) {
  Recipe wrong = recipe("run", {"--qat.enabled"});
  wrong.qat.quantizer.groupsize = 48;
  try {
    Trainer trainer(wrong);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr("recipe.yaml:11: qat.quantizer.groupsize"),
                                    HasSubstr("48"), HasSubstr("32, 64")));
  }
}

TEST_F(TrainerTest, NamesTheKeyOfEveryOtherErrorOfPrepare) {
  EXPECT_THAT(error_of("run", {"--qat.enabled", "--qat.modules_to_not_convert=[lm_haed]"}),
              AllOf(HasSubstr("qat.modules_to_not_convert: "), HasSubstr("names 'lm_haed'")));
  const std::string everything = "[q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj]";
  EXPECT_THAT(error_of("run", {"--qat.enabled", "--qat.modules_to_not_convert=" + everything}),
              AllOf(HasSubstr("qat.enabled: "), HasSubstr("no Linear to quantize")));
}

TEST_F(TrainerTest, RefusesDataWithoutTargets) {
  io::write_file_atomically(path("empty.jsonl"), "");
  EXPECT_THAT(error_of("run", {"--dataset.path_or_dataset_id=" + path("empty.jsonl").string()}),
              HasSubstr("empty.jsonl"));
  io::write_file_atomically(path("chat.jsonl"),
                            "{\"messages\": [{\"role\": \"user\", \"content\": \"hello\"}]}\n");
  EXPECT_THAT(error_of("run", {"--dataset._target_=ChatDataset", "--dataset.column_mapping=none",
                               "--dataset.path_or_dataset_id=" + path("chat.jsonl").string()}),
              HasSubstr("chat.jsonl:1"));
  EXPECT_FALSE(std::filesystem::exists(path("run"))) << "nothing is left behind";
}

TEST_F(TrainerTest, ErrorsAboutFilesAndColumnsNameTheirSetting) {
  Recipe absent = recipe("run");
  absent.model.pretrained_model_name_or_path = path("absent");
  try {
    Trainer trainer(absent);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("recipe.yaml:2: model.pretrained_model_name_or_path: "));
  }
  const std::string command_line = "command line --";
  EXPECT_THAT(error_of("run", {"--dataset.path_or_dataset_id=/nope.jsonl"}),
              HasSubstr(command_line + "dataset.path_or_dataset_id: dataset.path_or_dataset_id: "));
  EXPECT_THAT(error_of("run", {"--dataset.column_mapping.answer=target"}),
              AllOf(HasSubstr(command_line + "dataset.column_mapping.answer"),
                    HasSubstr("rows.jsonl:1: no column \"target\"")));
  EXPECT_THAT(error_of("run", {"--dataset.column_mapping.question=ask"}),
              HasSubstr("dataset.column_mapping.question: "));
  EXPECT_THAT(error_of("run", {"--dataset.chat_template=/nope.jinja"}),
              HasSubstr(command_line + "dataset.chat_template: "));
  EXPECT_THAT(error_of("run", {"--checkpoint.restore_from=/nope"}),
              HasSubstr(command_line + "checkpoint.restore_from: checkpoint.restore_from: "));
  EXPECT_THAT(error_of("run", {"--model.device=gpu"}),
              AllOf(HasSubstr(command_line + "model.device: "), HasSubstr("no device is called")));
  Overrides wrong_column = with_validation({});
  wrong_column.push_back("--validation_dataset.column_mapping.answer=x");
  EXPECT_THAT(error_of("run", wrong_column), HasSubstr("validation_dataset.column_mapping.answer"));
  EXPECT_THAT(error_of("run", {"--checkpoint.checkpoint_dir=/proc/x"}),
              HasSubstr(command_line + "checkpoint.checkpoint_dir"));
}

TEST_F(TrainerTest, TheCheckpointFolderIsCheckedBeforeTheModelIsLoaded) {
  const std::string file = path("rows.jsonl");
  for (const std::string& directory : {file, file + "/run"}) {
    EXPECT_THAT(error_of("run", {"--checkpoint.checkpoint_dir=" + directory,
                                 "--model.pretrained_model_name_or_path=/nope"}),
                AllOf(HasSubstr("command line --checkpoint.checkpoint_dir"),
                      HasSubstr(file + " is a file")));
  }
}

TEST_F(TrainerTest, APromptThatIsTooLongIsRefusedBeforeTraining) {
  EXPECT_THAT(error_of("run", {"--generate.prompts=" + std::string(400, 'x')}),
              AllOf(HasSubstr("command line --generate.prompts"), HasSubstr("at most 255")));
  EXPECT_FALSE(std::filesystem::exists(path("run")));
}

TEST_F(TrainerTest, AGroupSizeThatIsNotSetIsCalledTheDefault) {
  Recipe unset = recipe("run", {"--qat.enabled", "--qat.quantizer.groupsize=null"});
  try {
    Trainer trainer(unset);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("qat.quantizer.groupsize is not set, 256 is the default"));
  }
}

TEST_F(TrainerTest, GroupsMayBeWholeRows) {
  train("run", {"--qat.enabled", "--qat.quantizer.groupsize=-1", "--step_scheduler.max_steps=2"});
  EXPECT_THAT(column<bool>("run", "weight_fake_quant"), ElementsAre(true, true));
}

}  // namespace
}  // namespace nibble::train
