#include <nibble/core/error.h>
#include <nibble/train/recipe_parser.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "recipe_text.h"

namespace nibble::train {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

Recipe override_with(const std::vector<std::string>& arguments, const std::string& sections = "") {
  return parse_recipe(kMinimal + sections, "r.yaml", arguments).recipe;
}

std::string error_of(const std::vector<std::string>& arguments, const std::string& sections = "") {
  try {
    override_with(arguments, sections);
  } catch (const Error& error) {
    return error.what();
  }
  return "accepted";
}

TEST(Overrides, ThreeForms) {
  const Recipe recipe = override_with(
      {"--seed", "7", "--qat.quantizer.groupsize=32", "--qat.enabled", "--dataloader.shuffle"});
  EXPECT_EQ(recipe.seed, 7);
  EXPECT_EQ(recipe.qat.quantizer.groupsize, 32);
  EXPECT_TRUE(recipe.qat.enabled);
  EXPECT_TRUE(recipe.dataloader.shuffle);
}

TEST(Overrides, LastOneWins) { EXPECT_EQ(override_with({"--seed", "7", "--seed=8"}).seed, 8); }

TEST(Overrides, ReplaceTheFilesValueUnderAnyName) {
  const std::string file = "trainer: {max_steps: 5}\n";
  EXPECT_EQ(override_with({"--step_scheduler.max_steps", "9"}, file).step_scheduler.max_steps, 9);
  EXPECT_EQ(override_with({"--trainer.max_steps", "9"}, "step_scheduler:\n  max_steps: 5\n")
                .step_scheduler.max_steps,
            9);
}

TEST(Overrides, Values) {
  const Recipe recipe = override_with(
      {"--optimizer.betas", "(0.8, 0.9)", "--generate.prompts", "['a b', \"c\"]",
       "--clip_grad_norm.max_norm", "None", "--qat.modules_to_not_convert", "[]",
       "--checkpoint.checkpoint_dir", "'none'", "--dataset.column_separator", "a=b: c",
       "--lr_scheduler", "{'lr_decay_style': 'linear', 'init_lr': 0}", "--qat.enabled=True"});
  EXPECT_THAT(recipe.optimizer.betas, ElementsAre(0.8, 0.9));
  EXPECT_THAT(recipe.generate.prompts, ElementsAre("a b", "c"));
  EXPECT_FALSE(recipe.max_grad_norm);
  EXPECT_THAT(recipe.qat.modules_to_not_convert, IsEmpty());
  EXPECT_EQ(recipe.checkpoint.checkpoint_dir, "none");
  EXPECT_EQ(recipe.dataset.column_separator, "a=b: c");
  ASSERT_TRUE(recipe.lr_scheduler);
  EXPECT_EQ(recipe.lr_scheduler->lr_decay_style, LrDecayStyle::kLinear);
  EXPECT_EQ(recipe.lr_scheduler->init_lr, 0.0);
  EXPECT_TRUE(recipe.qat.enabled);
}

TEST(Overrides, NoneRemovesASection) {
  EXPECT_FALSE(
      override_with({"--lr_scheduler", "none"}, "lr_scheduler: {min_lr: 0}\n").lr_scheduler);
}

TEST(Overrides, CreateSections) {
  const Recipe recipe = override_with({"--validation_dataset_b._target_", "ChatDataset",
                                       "--validation_dataset_b.path_or_dataset_id", "b.jsonl"},
                                      "qat:\n");
  EXPECT_THAT(recipe.validation_datasets.at("b").path_or_dataset_id, ElementsAre("b.jsonl"));
}

TEST(Overrides, ErrorsNameTheArgument) {
  EXPECT_THAT(error_of({"--qat.enabeld", "true"}),
              HasSubstr("command line --qat.enabeld: unknown key 'qat.enabeld' (value: 'true'); "
                        "did you mean 'qat.enabled'?"));
  EXPECT_THAT(error_of({"--seed", "x"}),
              HasSubstr("command line --seed: seed: expected integer >= 0, got 'x'"));
  EXPECT_THAT(error_of({"--telemetry.endpoint", "x"}),
              HasSubstr("command line --telemetry.endpoint: unknown key 'telemetry'"));
  EXPECT_THAT(error_of({"seed", "3"}), HasSubstr("expected --section.key value, got 'seed'"));
  EXPECT_THAT(error_of({"--"}), HasSubstr("got '--'"));
  EXPECT_THAT(error_of({"--qat..enabled"}), HasSubstr("got '--qat..enabled'"));
  EXPECT_THAT(error_of({"--optimizer.betas", "[0.9"}), HasSubstr("command line --optimizer.betas"));
  EXPECT_THAT(error_of({"--seed.a", "1"}, "seed: 3\n"), HasSubstr("not a section"));
}

TEST(Overrides, TwoNamesOfOneSettingMustAgree) {
  EXPECT_THAT(error_of({"--step_scheduler.max_steps=3", "--trainer.max_steps=4"}),
              AllOf(HasSubstr("they are the same setting"),
                    HasSubstr("command line --step_scheduler.max_steps"),
                    HasSubstr("command line --trainer.max_steps")));
  EXPECT_EQ(error_of({"--step_scheduler.max_steps=4", "--trainer.max_steps=4"}), "accepted");
  EXPECT_EQ(error_of({"--trainer.max_steps=3", "--trainer.max_steps=4"},
                     "step_scheduler: {max_steps: 5}\n"),
            "accepted");
}

TEST(Overrides, AMissingValueIsNamed) {
  EXPECT_THAT(error_of({"--optimizer.lr"}),
              HasSubstr("command line --optimizer.lr: a value is missing: expected number >= 0"));
  EXPECT_THAT(error_of({"--checkpoint.checkpoint_dir", "--qat.enabled"}),
              HasSubstr("command line --checkpoint.checkpoint_dir: a value is missing"));
  EXPECT_EQ(error_of({"--dataset.truncation"}), "accepted");
  EXPECT_EQ(error_of({"--compile.enabled"}), "accepted");
  for (const std::vector<std::string>& empty :
       {std::vector<std::string>{"--seed="}, {"--seed", ""}}) {
    EXPECT_THAT(error_of(empty), HasSubstr("command line --seed: the value is empty"));
  }
  EXPECT_EQ(override_with({"--dataset.column_separator=''"}).dataset.column_separator, "");
}

TEST(Overrides, NumbersOutOfRangeAreCalledSo) {
  for (const char* number : {"1e18", "99999999999999999999", "1e400"}) {
    EXPECT_THAT(error_of({"--seed", number}), HasSubstr("out of range")) << number;
  }
  EXPECT_THAT(error_of({"--optimizer.lr", "1e400"}), HasSubstr("out of range"));
  EXPECT_THAT(error_of({"--seed", "1.5"}), Not(HasSubstr("out of range")));
}

TEST(Overrides, JinjaIsText) {
  for (const char* source : {"{% if a %}b{% endif %}", "{{ messages }}"}) {
    EXPECT_EQ(override_with({"--dataset.chat_template", source}).dataset.chat_template, source);
  }
}

TEST(Overrides, GroupsMayBeWholeRows) {
  EXPECT_EQ(override_with({"--qat.quantizer.groupsize=-1"}).qat.quantizer.groupsize, -1);
  EXPECT_THAT(error_of({"--qat.quantizer.groupsize=-2"}),
              HasSubstr("expected positive integer or -1, got '-2'"));
}

TEST(Overrides, ADelayErrorSaysWhatWouldNeverBeOn) {
  const std::vector<std::string> run = {"--qat.enabled", "--step_scheduler.max_steps=5"};
  const auto error = [&](std::vector<std::string> delays) {
    delays.insert(delays.begin(), run.begin(), run.end());
    return error_of(delays);
  };
  EXPECT_THAT(error({"--qat.delay_activation_fake_quant_steps=5"}),
              HasSubstr("fake quantization of the activations would never be on"));
  EXPECT_THAT(error({"--qat.delay_weight_fake_quant_steps=5"}),
              HasSubstr("fake quantization of the weights would never be on"));
  EXPECT_THAT(error({"--qat.delay_fake_quant_steps=5"}),
              HasSubstr("steps: fake quantization would never be on"));
}

TEST(Overrides, TheReferenceRecipeTakesEveryArm) {
  const std::filesystem::path file =
      std::filesystem::path(NIBBLE_SOURCE_DIR) / "configs/reference/smollm2_sft_reference.yaml";
  const Recipe recipe =
      load_recipe(
          file, {"--model.pretrained_model_name_or_path", "m", "--dataset.path_or_dataset_id",
                 "rows.jsonl", "--qat.enabled", "true", "--qat.quantizer._target_",
                 "torchao.quantization.qat.Int4WeightOnlyQATQuantizer", "--qat.quantizer.groupsize",
                 "64", "--qat.delay_fake_quant_steps", "2", "--checkpoint.checkpoint_dir", "d"})
          .recipe;
  EXPECT_EQ(recipe.qat.quantizer.scheme, QatScheme::k4w);
  EXPECT_EQ(recipe.qat.quantizer.groupsize, 64);
  EXPECT_EQ(recipe.qat.weight_delay(), 2);
  EXPECT_EQ(recipe.checkpoint.checkpoint_dir, "d");
  EXPECT_FALSE(load_recipe(file, {"--qat.enabled", "false"}).recipe.qat.enabled);
}

}  // namespace
}  // namespace nibble::train
