#include <nibble/train/recipe_parser.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "recipe_text.h"

namespace nibble::train {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

const std::vector<std::string> kRows = {"--dataset._target_", "ChatDataset",
                                        "--dataset.path_or_dataset_id", "rows.jsonl"};

LoadedRecipe parse(const std::string& yaml) { return parse_recipe(yaml, "r.yaml"); }
Recipe recipe_with(const std::string& sections) { return parse(kMinimal + sections).recipe; }

std::string seed_block(const std::string& quantizer, int groupsize) {
  return "model:\n  model_name: m\ntask:\n  type: sft\nqat:\n  enabled: true\n  quantizer:\n"
         "    _target_: torchao.quantization.qat." +
         quantizer + "\n    groupsize: " + std::to_string(groupsize) + "\n";
}

TEST(RecipeParser, ATiedRuleWithoutAQuantizedHeadIsAWarning) {
  const std::string both = kMinimal + "qat:\n  enabled: true\n  tied_embedding: both\n";
  const LoadedRecipe loaded = parse_recipe(both, "r.yaml");
  EXPECT_THAT(loaded.warnings,
              ElementsAre(HasSubstr("r.yaml:8: qat.tied_embedding has no effect: lm_head is in")));
  EXPECT_TRUE(parse_recipe(both + "  modules_to_not_convert: []\n", "r.yaml").warnings.empty());
}

TEST(SeedBlocks, Int8DynActInt4Weight) {
  const Recipe recipe =
      parse_recipe(seed_block("Int8DynActInt4WeightQATQuantizer", 256), "r.yaml", kRows).recipe;
  EXPECT_EQ(recipe.model.pretrained_model_name_or_path, "m");
  EXPECT_TRUE(recipe.qat.enabled);
  EXPECT_EQ(recipe.qat.quantizer.scheme, QatScheme::k8da4w);
  EXPECT_EQ(recipe.qat.quantizer.groupsize, 256);
  EXPECT_EQ(recipe.qat.quantizer.grid, QatGrid::kSymmetric);
  EXPECT_EQ(recipe.qat.quantizer.scales_precision, Dtype::kFloat32) << "TorchAO's default";
}

TEST(SeedBlocks, Int4WeightOnly) {
  const Recipe recipe =
      parse_recipe(seed_block("Int4WeightOnlyQATQuantizer", 128), "r.yaml", kRows).recipe;
  EXPECT_EQ(recipe.qat.quantizer.scheme, QatScheme::k4w);
  EXPECT_EQ(recipe.qat.quantizer.groupsize, 128);
  EXPECT_EQ(recipe.qat.quantizer.grid, QatGrid::kAsymmetric);
  EXPECT_EQ(recipe.qat.quantizer.scales_precision, Dtype::kBFloat16);
}

TEST(SeedBlocks, DelayAndTrainingWorkflow) {
  const std::string yaml = seed_block("Int8DynActInt4WeightQATQuantizer", 256) +
                           "  delay_fake_quant_steps: 1000\n"
                           "trainer:\n  max_steps: 5000\n  val_check_interval: 500\n";
  const LoadedRecipe loaded = parse_recipe(yaml, "r.yaml", kRows);
  EXPECT_EQ(loaded.recipe.qat.activation_delay(), 1000);
  EXPECT_EQ(loaded.recipe.qat.weight_delay(), 1000);
  EXPECT_EQ(loaded.recipe.step_scheduler.max_steps, 5000);
  EXPECT_EQ(loaded.recipe.step_scheduler.val_every_steps, 500);
  EXPECT_FALSE(loaded.recipe.step_scheduler.num_epochs) << "max_steps alone decides the length";
  EXPECT_THAT(loaded.warnings[0], HasSubstr("r.yaml:12: trainer.max_steps is a deprecated name of "
                                            "step_scheduler.max_steps"));
}

TEST(SeedBlocks, DelayAloneIsWarnedAboutBecauseQatIsOff) {
  const LoadedRecipe loaded = parse(kMinimal + "qat:\n  delay_fake_quant_steps: 1000\n");
  EXPECT_FALSE(loaded.recipe.qat.enabled);
  EXPECT_THAT(loaded.warnings,
              ElementsAre(HasSubstr("r.yaml:7: qat.delay_fake_quant_steps has no effect: QAT is "
                                    "off")));
}

TEST(RecipeParser, MinimalRecipeHasTheDocumentedDefaults) {
  const LoadedRecipe loaded = parse(kMinimal);
  const Recipe& recipe = loaded.recipe;
  EXPECT_THAT(loaded.warnings, IsEmpty());
  EXPECT_EQ(recipe.seed, 42);
  EXPECT_EQ(recipe.step_scheduler.global_batch_size, 8);
  EXPECT_EQ(recipe.step_scheduler.accumulation_steps(), 8);
  EXPECT_EQ(recipe.step_scheduler.num_epochs, 1);
  EXPECT_EQ(recipe.optimizer.kind, OptimizerKind::kAdamW);
  EXPECT_EQ(recipe.optimizer.lr, 1e-5);
  EXPECT_FALSE(recipe.lr_scheduler) << "without the section the learning rate is constant";
  EXPECT_EQ(recipe.max_grad_norm, 1.0);
  EXPECT_THAT(recipe.qat.modules_to_not_convert, ElementsAre("lm_head"));
  EXPECT_THAT(recipe.validation_datasets, IsEmpty());
}

TEST(RecipeParser, BatchSizesFollowTheOneThatIsGiven) {
  EXPECT_EQ(recipe_with("step_scheduler: {local_batch_size: 4}").step_scheduler.global_batch_size,
            4);
  EXPECT_EQ(recipe_with("step_scheduler: {global_batch_size: 4}").step_scheduler.local_batch_size,
            1);
}

TEST(RecipeParser, AutomodelsQatConfigIsTheQuantizer) {
  const Recipe recipe = recipe_with(
      "qat:\n  enabled: true\n  fake_quant_after_n_steps: 7\n  qat_config:\n"
      "    _target_: nemo_automodel.components.quantization.qat.QATConfig\n"
      "    quantizer_type: int4_weight_only\n    groupsize: 64\n");
  EXPECT_EQ(recipe.qat.quantizer.scheme, QatScheme::k4w);
  EXPECT_EQ(recipe.qat.quantizer.groupsize, 64);
  EXPECT_EQ(recipe.qat.quantizer.scales_precision, Dtype::kBFloat16);
  EXPECT_EQ(recipe.qat.delay_fake_quant_steps, 7);
  EXPECT_EQ(recipe.describe_key("qat.quantizer.groupsize"), "r.yaml:12: qat.quantizer.groupsize");
}

TEST(RecipeParser, ScaleDtypeFollowsTheClassName) {
  const auto scales = [](const std::string& target) {
    return recipe_with("qat: {quantizer: {_target_: " + target + "}}")
        .qat.quantizer.scales_precision;
  };
  EXPECT_EQ(scales("nibble.Int8DynActInt4WeightQATQuantizer"), Dtype::kBFloat16);
  EXPECT_EQ(scales("8da4w"), Dtype::kBFloat16);
  EXPECT_EQ(scales("torchao.quantization.qat.Int8DynActInt4WeightQATQuantizer"), Dtype::kFloat32);
  EXPECT_EQ(scales("8da4w, scales_precision: torch.float32"), Dtype::kFloat32);
}

TEST(RecipeParser, DelaysOfActivationsAndWeightsAreApart) {
  const QatRecipe qat =
      recipe_with(
          "qat: {enabled: true, delay_fake_quant_steps: 3, delay_weight_fake_quant_steps: 9}")
          .qat;
  EXPECT_EQ(qat.activation_delay(), 3);
  EXPECT_EQ(qat.weight_delay(), 9);
}

TEST(RecipeParser, EqualValuesUnderTwoNamesAgree) {
  const Recipe recipe =
      recipe_with("qat: {delay_fake_quant_steps: 3, fake_quant_after_n_steps: 3.0}");
  EXPECT_EQ(recipe.qat.delay_fake_quant_steps, 3);
}

TEST(RecipeParser, NumbersAreReadAsAutomodelReadsThem) {
  const Recipe recipe = recipe_with(
      "optimizer: {lr: 2.0e-5, eps: 1e-8, weight_decay: 0, betas: [0.9, .95]}\n"
      "step_scheduler: {local_batch_size: \"2\", max_steps: 1e3}\n"
      "clip_grad_norm: {max_norm: none}\n");
  EXPECT_EQ(recipe.optimizer.lr, 2e-5);
  EXPECT_EQ(recipe.optimizer.eps, 1e-8);
  EXPECT_EQ(recipe.optimizer.weight_decay, 0.0);
  EXPECT_THAT(recipe.optimizer.betas, ElementsAre(0.9, 0.95));
  EXPECT_EQ(recipe.step_scheduler.local_batch_size, 2);
  EXPECT_EQ(recipe.step_scheduler.max_steps, 1000);
  EXPECT_FALSE(recipe.max_grad_norm);
}

TEST(RecipeParser, WeightDecayDefaultsFollowTheOptimizer) {
  EXPECT_EQ(recipe_with("optimizer: {_target_: torch.optim.Adam}").optimizer.weight_decay, 0.0);
  EXPECT_EQ(recipe_with("optimizer: {_target_: torch.optim.AdamW}").optimizer.weight_decay, 0.01);
}

TEST(RecipeParser, NamedValidationDatasets) {
  const Recipe recipe = recipe_with(
      "validation_dataset: {_target_: HellaSwag, path_or_dataset: h.jsonl, num_samples_limit: 5}\n"
      "validation_dataset_chat: {_target_: ChatDataset, path_or_dataset_id: [a, b]}\n"
      "validation_dataset_none:\n");
  ASSERT_EQ(recipe.validation_datasets.size(), 2u);
  EXPECT_EQ(recipe.validation_datasets.at("default").kind, DatasetKind::kHellaSwag);
  EXPECT_EQ(recipe.validation_datasets.at("default").limit_dataset_samples, 5);
  EXPECT_THAT(recipe.validation_datasets.at("chat").path_or_dataset_id, ElementsAre("a", "b"));
}

TEST(RecipeParser, SectionsOfOtherToolsAreNamedInOneWarning) {
  const LoadedRecipe loaded =
      parse(kMinimal + "wandb: {project: x}\ncompile: {enabled: false}\ndist_env:\n");
  EXPECT_THAT(loaded.warnings,
              ElementsAre("these keys have no effect: wandb (r.yaml:6), compile.enabled "
                          "(r.yaml:7)"));
}

TEST(RecipeParser, UnknownSectionIsIgnoredWithAWarning) {
  EXPECT_THAT(parse(kMinimal + "telemetry: {endpoint: x}\n").warnings,
              ElementsAre("r.yaml:6: the section 'telemetry' is unknown and ignored"));
}

TEST(RecipeParser, ByteOrderMarkAndCarriageReturnsAreAccepted) {
  std::string yaml = "\xef\xbb\xbf";
  for (const char c : kMinimal) {
    yaml += c == '\n' ? "\r\n" : std::string(1, c);
  }
  EXPECT_EQ(parse(yaml).recipe.model.pretrained_model_name_or_path, "m");
}

TEST(RecipeParser, AnchorsAndMergeKeys) {
  const Recipe recipe = parse(
                            "model: {model_name: m}\n"
                            "dataset: &rows\n  _target_: ChatDataset\n"
                            "  path_or_dataset_id: train.jsonl\n  seq_length: 64\n"
                            "validation_dataset:\n  <<: *rows\n"
                            "  path_or_dataset_id: validation.jsonl\n")
                            .recipe;
  const DatasetRecipe& validation = recipe.validation_datasets.at("default");
  EXPECT_THAT(validation.path_or_dataset_id, ElementsAre("validation.jsonl"));
  EXPECT_EQ(validation.seq_length, 64);
}

TEST(RecipeParser, TabsAreAllowedInsideBlockText) {
  const Recipe recipe = recipe_with("  chat_template: |\n    {% if x %}\n    \ty\n");
  EXPECT_EQ(recipe.dataset.chat_template, "{% if x %}\n\ty\n");
}

TEST(RecipeParser, EnvironmentVariables) {
  setenv("NIBBLE_TEST_MODEL", "models/a", 1);
  const auto model = [](const std::string& text) {
    return parse_recipe(kMinimal, "r.yaml", {"--model.model_name", text})
        .recipe.model.pretrained_model_name_or_path;
  };
  EXPECT_EQ(model("${NIBBLE_TEST_MODEL}/b"), "models/a/b");
  EXPECT_EQ(model("${oc.env:NIBBLE_TEST_MODEL}"), "models/a");
  EXPECT_EQ(model("${NIBBLE_TEST_UNSET,x y}-${NIBBLE_TEST_UNSET, z}"), "x y-z");
  EXPECT_EQ(model("${oc.env:NIBBLE_TEST_UNSET,d}"), "d");
  EXPECT_EQ(model("$${NIBBLE_TEST_MODEL}"), "${NIBBLE_TEST_MODEL}");
}

TEST(CheckDelay, IsForTrainersWhoseEpochsDecideTheLength) {
  Recipe recipe = recipe_with("qat: {enabled: true, delay_fake_quant_steps: 10}");
  EXPECT_NO_THROW(check_delay(recipe, 11));
  EXPECT_THROW(check_delay(recipe, 10), std::runtime_error);
  recipe.qat.allow_delay_beyond_training = true;
  EXPECT_NO_THROW(check_delay(recipe, 10));
}

TEST(CheckDelay, ActivationDelayDoesNotConcernWeightOnly) {
  const Recipe recipe = recipe_with(
      "qat: {enabled: true, quantizer: {_target_: 4w}, delay_activation_fake_quant_steps: 10}");
  EXPECT_NO_THROW(check_delay(recipe, 5));
}

TEST(ChangedSettings, AreNamedWithBothValues) {
  const Recipe before = parse_recipe(kMinimal, "r.yaml", {"--optimizer.lr=0.5"}).recipe;
  const Recipe after =
      parse_recipe(kMinimal, "r.yaml", {"--optimizer.lr=0.25", "--lr_scheduler.min_lr=0"}).recipe;
  EXPECT_TRUE(changed_settings(before, before).empty());
  std::string text;
  for (const SettingChange& change : changed_settings(before, after)) {
    text += change.path + " " + change.before + " " + change.after + "\n";
  }
  EXPECT_EQ(text,
            "optimizer.lr 0.5 0.25\n"
            "lr_scheduler.lr_decay_style null cosine\n"
            "lr_scheduler.min_lr null 0\n"
            "lr_scheduler.lr_wsd_decay_style null linear\n");
  EXPECT_EQ(changed_settings(after, before).size(), 4u);
}

}  // namespace
}  // namespace nibble::train
