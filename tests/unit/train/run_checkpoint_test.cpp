#include <nibble/train/run_checkpoint.h>
#include <nibble/train/trainer.h>

#include <gmock/gmock.h>

#include "unit/train/trainer_test_case.h"

namespace nibble::train {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Key;
using ::testing::Not;
using ::testing::UnorderedElementsAre;

class RunCheckpointTest : public TrainerTestCase {
 protected:
  /// Names of the checkpoint folders and links of a run.
  std::vector<std::string> checkpoints(const std::string& run) const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(path(run))) {
      if (entry.is_directory()) names.push_back(entry.path().filename());
    }
    return names;
  }

  void train_until(const std::string& run, int64_t steps, const Overrides& overrides) const {
    Trainer trainer(recipe(run, overrides));
    ASSERT_EQ(trainer.run([&] { return trainer.next_step() == steps; }), RunEnd::kPreempted);
  }

  /// validation.jsonl without what differs from run to run: time and memory.
  std::vector<nlohmann::json> validation_records(const std::string& run) const {
    std::vector<nlohmann::json> records = log(run, "validation.jsonl");
    for (nlohmann::json& record : records) {
      record.erase("timestamp");
      record.erase("mem");
    }
    return records;
  }

  void expect_same_end(const std::string& expected, const std::string& actual,
                       const std::string& folder) const {
    for (const char* key : {"loss", "grad_norm", "lr"}) {
      EXPECT_EQ(column<double>(expected, key), column<double>(actual, key)) << key;
    }
    EXPECT_EQ(column<bool>(expected, "fake_quant"), column<bool>(actual, "fake_quant"));
    for (const char* file : {"/model/model.safetensors", "/optim.safetensors"}) {
      EXPECT_TRUE(bytes(expected + "/" + folder + file) == bytes(actual + "/" + folder + file))
          << file;
    }
  }
};

/// Shuffled, accumulated, with a schedule, over an epoch's end, the delay after the resume point.
const std::vector<std::string> kEverything = {"--step_scheduler.max_steps=12",
                                              "--step_scheduler.local_batch_size=2",
                                              "--dataloader.shuffle",
                                              "--lr_scheduler.lr_decay_style=cosine",
                                              "--qat.enabled",
                                              "--qat.delay_activation_fake_quant_steps=7",
                                              "--qat.delay_weight_fake_quant_steps=8"};

TEST_F(RunCheckpointTest, ResumedRunEqualsTheUninterruptedOneBitForBit) {
  train("whole", kEverything);
  train_until("resumed", 5, kEverything);
  EXPECT_EQ(log("resumed").size(), 5U);
  Trainer trainer(recipe("resumed", kEverything));
  EXPECT_EQ(trainer.next_step(), 5);
  trainer.run();
  EXPECT_THAT(column<int64_t>("resumed", "step"),
              ElementsAre(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11));
  EXPECT_THAT(column<bool>("resumed", "weight_fake_quant")[8], true);
  expect_same_end("whole", "resumed", "epoch_1_step_11");
}

TEST_F(RunCheckpointTest, ResumesInBFloat16AndWithFakeQuantizationAlreadyOn) {
  std::vector<std::string> overrides = {"--model.torch_dtype=bfloat16", "--qat.enabled",
                                        "--qat.quantizer._target_=Int4WeightOnlyQATQuantizer"};
  train("whole", overrides);
  train_until("resumed", 2, overrides);
  train("resumed", overrides);
  expect_same_end("whole", "resumed", "epoch_0_step_5");
}

TEST_F(RunCheckpointTest, ResumesWithATiedEmbeddingThatIsQuantizedToo) {
  const Overrides overrides = {"--qat.enabled", "--qat.delay_fake_quant_steps=3",
                               "--qat.modules_to_not_convert=[]", "--qat.tied_embedding=both"};
  train("plain");
  train("whole", overrides);
  const auto losses = column<double>("whole", "loss");
  EXPECT_EQ(losses[2], column<double>("plain", "loss")[2]);
  EXPECT_NE(losses[3], column<double>("plain", "loss")[3]);
  for (const int64_t steps : {2, 4}) {
    const std::string run = "resumed" + std::to_string(steps);
    train_until(run, steps, overrides);
    train(run, overrides);
    expect_same_end("whole", run, "epoch_0_step_5");
  }
  EXPECT_THAT(error_of("whole", {"--qat.enabled", "--qat.modules_to_not_convert=[]"}),
              HasSubstr("tied embedding both"));
}

TEST_F(RunCheckpointTest, ValidationDueInTheStepOfAStopIsDoneFirstByTheResumedRun) {
  const Overrides overrides = with_validation(
      {"--step_scheduler.max_steps=8", "--step_scheduler.val_every_steps=2", "--qat.enabled",
       "--qat.delay_fake_quant_steps=4", "--lr_scheduler.lr_decay_style=cosine"});
  train("whole", overrides);
  EXPECT_THAT(column<int64_t>("whole", "step", "validation.jsonl"), ElementsAre(1, 3, 5, 7));

  train_until("resumed", 3, overrides);  // nothing is due
  EXPECT_FALSE(read_run_state(path("resumed") / "LATEST").validation_pending);
  train_until("resumed", 4, overrides);  // the last step without fake quantization
  EXPECT_TRUE(read_run_state(path("resumed") / "LATEST").validation_pending);
  EXPECT_THAT(column<int64_t>("resumed", "step", "validation.jsonl"), ElementsAre(1));
  // Killed in the step after that: the next run validates once more, in the same place of the log.
  EXPECT_THROW(Trainer(recipe("resumed", overrides)).run([]() -> bool { throw Error("killed"); }),
               Error);
  EXPECT_THAT(column<int64_t>("resumed", "step", "validation.jsonl"), ElementsAre(1, 3));
  train_until("resumed", 6, overrides);  // the end of an epoch
  train("resumed", overrides);

  EXPECT_EQ(validation_records("resumed"), validation_records("whole"));
  expect_same_end("whole", "resumed", "epoch_1_step_7");
  EXPECT_EQ(read_run_state(path("resumed") / "LATEST").lowest_val_loss,
            read_run_state(path("whole") / "LATEST").lowest_val_loss);
}

TEST_F(RunCheckpointTest, AStopInTheLastStepPutsNothingOff) {
  const Overrides overrides = with_validation({"--step_scheduler.max_steps=3"});
  Trainer trainer(recipe("run", overrides));
  EXPECT_EQ(trainer.run([&] { return trainer.next_step() == 3; }), RunEnd::kFinished);
  EXPECT_THAT(column<int64_t>("run", "step", "validation.jsonl"), ElementsAre(2));
}

TEST_F(RunCheckpointTest, ThePostponedValidationMayBeTheLowest) {
  const Overrides overrides =
      with_validation({"--step_scheduler.max_steps=6", "--step_scheduler.val_every_steps=2",
                       "--step_scheduler.ckpt_every_steps=2"});
  train_until("run", 2, overrides);
  EXPECT_FALSE(fs::exists(path("run") / "LOWEST_VAL"));
  train_until("run", 3, overrides);
  EXPECT_EQ(fs::read_symlink(path("run") / "LOWEST_VAL"), "epoch_0_step_1");
}

TEST_F(RunCheckpointTest, NamesLinksAndRecipe) {
  train("run",
        with_validation({"--step_scheduler.max_steps=8", "--step_scheduler.ckpt_every_steps=3"}));
  EXPECT_THAT(checkpoints("run"), UnorderedElementsAre("epoch_0_step_2", "epoch_0_step_5",
                                                       "epoch_1_step_7", "LATEST", "LOWEST_VAL"));
  EXPECT_EQ(fs::read_symlink(path("run") / "LATEST"), "epoch_1_step_7");
  const auto losses = column<double>("run", "val_loss", "validation.jsonl");
  const auto lowest = std::min_element(losses.begin(), losses.end()) - losses.begin();
  const std::vector<std::string> folders = {"epoch_0_step_2", "epoch_0_step_5", "epoch_1_step_7"};
  EXPECT_EQ(fs::read_symlink(path("run") / "LOWEST_VAL"), folders[static_cast<size_t>(lowest)]);
  const LoadedRecipe saved = load_recipe(path("run") / "LATEST" / "config.yaml");
  EXPECT_EQ(saved.recipe.step_scheduler.max_steps, 8);
}

TEST_F(RunCheckpointTest, KeepsTheNewestAndWhatTheLinksPointTo) {
  train("run", {"--step_scheduler.ckpt_every_steps=1", "--checkpoint.max_recent_checkpoints=2"});
  EXPECT_THAT(checkpoints("run"),
              UnorderedElementsAre("epoch_0_step_4", "epoch_0_step_5", "LATEST"));
}

TEST_F(RunCheckpointTest, ResumesFromANamedCheckpoint) {
  train("run", {"--step_scheduler.ckpt_every_steps=2"});
  Trainer trainer(
      recipe("other", {"--checkpoint.restore_from=" + (path("run") / "epoch_0_step_1").string()}));
  EXPECT_EQ(trainer.next_step(), 2);
  EXPECT_THAT(error_of("run", {"--checkpoint.restore_from=epoch_7"}), HasSubstr("epoch_7"));
}

TEST_F(RunCheckpointTest, RefusesTheCheckpointOfAnotherRunAndNamesTheDifference) {
  train_until("run", 3, {});
  EXPECT_THAT(error_of("run", {"--qat.enabled"}),
              AllOf(HasSubstr("written by another run"), HasSubstr("qat was \"off\"")));
  EXPECT_THAT(error_of("run", {"--optimizer._target_=torch.optim.Adam"}),
              HasSubstr("optimizer was \"AdamW\""));
  EXPECT_THAT(error_of("run", {"--model.torch_dtype=bfloat16"}), HasSubstr("torch_dtype was"));
  EXPECT_THAT(error_of("run", {"--step_scheduler.global_batch_size=8"}), HasSubstr("batch_size"));
  EXPECT_THAT(error_of("run", {"--dataset.limit_dataset_samples=12"}), HasSubstr("rows was 24"));
  EXPECT_THAT(error_of("run", {"--step_scheduler.max_steps=2"}), HasSubstr("beyond the run's 2"));
  EXPECT_EQ(log("run").size(), 3U) << "a refused run leaves the log alone";
}

TEST_F(RunCheckpointTest, GoesOnWhereAKillLeftACheckpointWithoutItsLink) {
  train("whole", {"--step_scheduler.ckpt_every_steps=2"});
  train("killed", {"--step_scheduler.ckpt_every_steps=2"});
  // The kill came between the rename of epoch_0_step_3 and the move of LATEST.
  fs::remove_all(path("killed") / "epoch_0_step_5");
  fs::remove(path("killed") / "LATEST");
  fs::create_directory_symlink("epoch_0_step_1", path("killed") / "LATEST");
  train("killed", {"--step_scheduler.ckpt_every_steps=2"});
  expect_same_end("whole", "killed", "epoch_0_step_5");
}

TEST_F(RunCheckpointTest, ClearsWhatAKillLeftHalfWritten) {
  train_until("run", 2, {});
  const fs::path half = path("run") / "epoch_0_step_3.tmp.1";
  fs::create_directories(half);
  fs::copy_file(path("run") / "LATEST" / "state.json", half / "state.json");
  train("run", {"--checkpoint.max_recent_checkpoints=2"});
  EXPECT_THAT(checkpoints("run"),
              UnorderedElementsAre("epoch_0_step_1", "epoch_0_step_5", "LATEST"));
}

TEST_F(RunCheckpointTest, NamesADamagedState) {
  train_until("run", 2, {});
  io::write_file_atomically(path("run") / "LATEST" / "state.json", "{\"next_step\": 2}");
  EXPECT_THAT(error_of("run", {}), AllOf(HasSubstr("state.json"), HasSubstr("epoch")));
}

TEST_F(RunCheckpointTest, ADamagedOldCheckpointStopsNothing) {
  train("whole", {"--step_scheduler.ckpt_every_steps=2"});
  train_until("run", 4, {"--step_scheduler.ckpt_every_steps=2"});
  io::write_file_atomically(path("run") / "epoch_0_step_1" / "state.json", "{");
  train("run", {"--step_scheduler.ckpt_every_steps=2", "--checkpoint.max_recent_checkpoints=2"});
  expect_same_end("whole", "run", "epoch_0_step_5");
  EXPECT_FALSE(fs::exists(path("run") / "epoch_0_step_1"));
}

TEST_F(RunCheckpointTest, RefusesAnotherBaseModelOfTheSameShape) {
  train_until("run", 3, {});
  fs::copy(model_path(), path("other"), fs::copy_options::recursive);
  const Overrides other = {"--model.pretrained_model_name_or_path=" + path("other").string()};
  {
    Trainer same_content(recipe("run", other));  // a model may move
    EXPECT_EQ(same_content.next_step(), 3);
  }
  std::string weights = bytes("other/model.safetensors");
  for (size_t i = weights.size() / 2; i < weights.size(); i += 4) weights[i] ^= 1;
  io::write_file_atomically(path("other/model.safetensors"), weights);
  EXPECT_THAT(error_of("run", other),
              AllOf(HasSubstr("written by another run: base model's fingerprint was"),
                    HasSubstr("model.pretrained_model_name_or_path: \"" + model_path().string() +
                              "\" -> \"" + path("other").string() + "\"")));
  EXPECT_EQ(log("run").size(), 3U) << "a refused run leaves the log alone";
}

TEST_F(RunCheckpointTest, RefusesOtherRowsOfTheSameNumber) {
  train_until("run", 3, {});
  testing::write_tiny_rows(path("rows.jsonl"), kRows, 1);
  EXPECT_THAT(error_of("run", {}),
              HasSubstr("written by another run: training rows' fingerprint was"));
  EXPECT_EQ(log("run").size(), 3U);
}

TEST_F(RunCheckpointTest, TellsTheHyperParametersThatChanged) {
  train_until("run", 2, {});
  ::testing::internal::CaptureStderr();
  train("run", {"--optimizer.lr=0.001", "--dataset.answer_only_loss_mask=false",
                "--checkpoint.max_recent_checkpoints=3", "--step_scheduler.max_steps=4"});
  const std::string output = ::testing::internal::GetCapturedStderr();
  EXPECT_THAT(output, HasSubstr("with other settings than before: "
                                "dataset.answer_only_loss_mask: true -> false, "
                                "optimizer.lr: 0.003 -> 0.001\n"));
}

TEST_F(RunCheckpointTest, SaysThatNothingIsLeftToTrain) {
  train("run");
  ::testing::internal::CaptureStderr();
  train("run");
  const std::string output = ::testing::internal::GetCapturedStderr();
  EXPECT_THAT(output, HasSubstr("nothing is left to train: all 6 steps are done"));
  EXPECT_THAT(output, Not(HasSubstr("other settings")));
  EXPECT_EQ(log("run").size(), 6U);
}

TEST_F(RunCheckpointTest, WhatStandsInTheWayIsNamedBeforeTheFirstStep) {
  const Overrides often = {"--step_scheduler.ckpt_every_steps=1"};
  train_until("run", 3, often);
  const std::string before = bytes("run/training.jsonl");
  Overrides older = often;
  older.push_back("--checkpoint.restore_from=epoch_0_step_1");
  EXPECT_THAT(error_of("run", older), AllOf(HasSubstr("holds epoch_0_step_2, but"),
                                            HasSubstr("step 2"), HasSubstr("delete")));
  fs::create_directory(path("run") / "epoch_0_step_4");  // ahead, and empty
  EXPECT_THAT(error_of("run", often), HasSubstr("holds epoch_0_step_4 (damaged)"));
  fs::remove(path("run") / "epoch_0_step_4");
  fs::remove(path("run") / "epoch_0_step_2" / "state.json");
  EXPECT_THAT(error_of("run", often), HasSubstr("holds epoch_0_step_2 (damaged)"));
  EXPECT_EQ(bytes("run/training.jsonl"), before);
  fs::remove_all(path("run") / "epoch_0_step_2");
  train("run", often);
  EXPECT_EQ(log("run").size(), 6U);
}

TEST_F(RunCheckpointTest, ADamagedNewestCheckpointNamesTheWayOn) {
  const Overrides often = {"--step_scheduler.ckpt_every_steps=1"};
  for (const char* file :
       {"model/model.safetensors", "optim.safetensors", "state.json", "config.yaml"}) {
    const std::string run = std::string("run_") + file[0];
    train_until(run, 2, often);
    const fs::path damaged = fs::canonical(path(run)) / "epoch_0_step_1";
    fs::resize_file(damaged / file, 1);
    EXPECT_THAT(error_of(run, often),
                AllOf(HasSubstr("checkpoint " + damaged.string() + " is damaged"), HasSubstr(file),
                      HasSubstr("delete that folder and go on from "), HasSubstr("epoch_0_step_0")))
        << file;
    EXPECT_EQ(log(run).size(), 2U) << file;
    fs::remove_all(damaged);
    train(run, often);
  }
}

TEST_F(RunCheckpointTest, StateIsCheckedEntryByEntry) {
  train_until("run", 2, {});
  const fs::path file = path("run") / "epoch_0_step_1" / "state.json";
  const nlohmann::json good = nlohmann::json::parse(io::read_text_file(file));
  const std::string before = bytes("run/training.jsonl");
  for (const auto& [name, value] :
       std::vector<std::pair<std::string, nlohmann::json>>{{"next_step", -1},
                                                           {"next_step", 1e300},
                                                           {"next_step", 0},
                                                           {"next_step", "x"},
                                                           {"next_step", 1},
                                                           {"next_step", 18446744073709551615U},
                                                           {"epoch", -1},
                                                           {"epoch", 1e300},
                                                           {"epoch", nlohmann::json::array()},
                                                           {"identity", "x"},
                                                           {"identity", 3},
                                                           {"loader", nlohmann::json::array()},
                                                           {"validation_pending", "x"},
                                                           {"lowest_val_loss", "x"},
                                                           {"data_hash", 3}}) {
    nlohmann::json state = good;
    state[name] = value;
    io::write_file_atomically(file, state.dump());
    EXPECT_THAT(error_of("run", {}), AllOf(HasSubstr("state.json"), HasSubstr("no run state")))
        << name << " " << value;
    EXPECT_EQ(bytes("run/training.jsonl"), before) << name << " " << value;
  }
}

}  // namespace
}  // namespace nibble::train
