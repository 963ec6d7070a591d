#include <nibble/core/error.h>
#include <nibble/train/recipe_parser.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "recipe_text.h"

namespace nibble::train {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

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
