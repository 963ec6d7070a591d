#include <nibble/core/error.h>
#include <nibble/train/recipe_parser.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "recipe_text.h"

namespace nibble::train {
namespace {

using ::testing::HasSubstr;

/// A wrong recipe: `yaml` follows the five lines of kMinimal, or stands alone.
struct WrongRecipe {
  const char* name;
  std::string yaml;
  std::vector<std::string> message;  ///< parts that the error must have
  bool alone = false;
};

std::ostream& operator<<(std::ostream& stream, const WrongRecipe& wrong) {
  return stream << wrong.name;
}

class RecipeError : public ::testing::TestWithParam<WrongRecipe> {};

TEST_P(RecipeError, NamesPlaceKeyAndRemedy) {
  const WrongRecipe& wrong = GetParam();
  try {
    parse_recipe(wrong.alone ? wrong.yaml : kMinimal + wrong.yaml, "r.yaml");
    FAIL() << "accepted";
  } catch (const Error& error) {
    for (const std::string& part : wrong.message) {
      EXPECT_THAT(error.what(), HasSubstr(part));
    }
  }
}

std::string test_name(const ::testing::TestParamInfo<WrongRecipe>& info) { return info.param.name; }

const WrongRecipe kStructure[] = {
    {"Empty", "", {"r.yaml:1", "empty"}, true},
    {"OnlyComments", "# nothing\n", {"r.yaml:1", "empty"}, true},
    {"NullRoot", "null\n", {"r.yaml:1", "holds no recipe"}, true},
    {"ListRoot", "- a\n- b\n", {"r.yaml:1", "expected sections", "got [a, b]"}, true},
    {"ScalarRoot", "hello\n", {"r.yaml:1", "got 'hello'"}, true},
    {"TwoDocuments", "---\nqat: {}\n", {"r.yaml:7", "second document"}},
    {"Tab", "qat:\n\tenabled: true\n", {"r.yaml:7", "tab in the indentation"}},
    {"TabAfterSpaces", "qat:\n  \tenabled: true\n", {"r.yaml:7", "tab in the indentation"}},
    {"NotUtf8", "seed: \xff\n", {"r.yaml:6", "not valid UTF-8"}},
    {"Overlong", "seed: \xc0\xaf\n", {"r.yaml:6", "not valid UTF-8"}},
    {"Utf16", std::string("\xff\xfe s\0", 5), {"r.yaml:1", "UTF-16"}, true},
    {"Nul", std::string("seed: 1\0\n", 9), {"r.yaml:6", "NUL"}},
    {"OpenQuote", "wandb: {project: \"x}\n", {"r.yaml:", "inside quotes"}},
    {"OpenBracket", "optimizer: {betas: [0.9\n", {"r.yaml:", "not valid YAML"}},
    {"UnevenIndentation", "qat:\n  enabled: true\n seed: 3\n", {"r.yaml:8", "not valid YAML"}},
    {"DuplicateSection",
     "model: {torch_dtype: float32}\n",
     {"r.yaml:6: duplicate key 'model'", "first set at r.yaml:1"}},
    {"DuplicateKey",
     "qat:\n  enabled: true\n  enabled: false\n",
     {"r.yaml:8: duplicate key 'qat.enabled'", "first set at r.yaml:7"}},
    {"DuplicateNestedKey",
     "qat:\n  quantizer:\n    groupsize: 1\n    groupsize: 2\n",
     {"r.yaml:9: duplicate key 'qat.quantizer.groupsize'"}},
    {"UnquotedTemplate",
     "wandb: {%- for m in messages %}\n",
     {"r.yaml:", "not valid YAML", "in quotes"}},
    {"SelfAlias", "wandb: &a [*a]\n", {"r.yaml:6", "refers to itself"}},
    {"UnknownAlias", "wandb: *a\n", {"r.yaml:6", "not valid YAML"}},
    {"AliasBomb",
     "a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\n"
     "c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\n"
     "e: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\n",
     {"r.yaml:10", "aliases that expand"}},
    {"TooDeep",
     "wandb: " + std::string(40, '[') + std::string(40, ']') + "\n",
     {"r.yaml:6", "levels deep"}},
    {"TooLarge", std::string(2 << 20, '#'), {"too many for a recipe"}},
    {"PythonTag", "seed: !!python/object:os.system x\n", {"r.yaml:6", "tag"}},
    {"MapAsKey", "model: {{a: b}: c}\n", {"r.yaml:1", "key must be a plain word"}, true},
    {"MergeOfText", "qat: {<<: x}\n", {"r.yaml:6", "merges maps"}},
    {"DottedKey", "qat.enabled: true\n", {"r.yaml:6", "has a dot"}},
    {"UnsetVariable",
     "seed: ${NIBBLE_TEST_UNSET}\n",
     {"r.yaml:6", "NIBBLE_TEST_UNSET is not set", "${NIBBLE_TEST_UNSET,default}"}},
    {"OpenVariable", "seed: ${HOME\n", {"r.yaml:6", "without '}'"}},
    {"UnquotedVariable", "wandb: {project: ${HOME}}\n", {"r.yaml:6", "with quotes"}},
};
INSTANTIATE_TEST_SUITE_P(Structure, RecipeError, ::testing::ValuesIn(kStructure), test_name);

const WrongRecipe kPlaces[] = {
    {"FlatFile",
     "model:\nmodel_name: m\ntask:\ntype: sft\n",
     {"r.yaml:2: unknown key 'model_name' (value: 'm')", "belongs to 'model.model_name'",
      "'model' (r.yaml:1) is empty", "indent"},
     true},
    {"FlatSection",
     "qat:\nenabled: true\n",
     {"r.yaml:7: unknown key 'enabled'", "'qat.enabled'", "'qat' (r.yaml:6) is empty"}},
    {"FlatQuantizer",
     "qat:\n  quantizer:\n  groupsize: 64\n",
     {"r.yaml:8: unknown key 'qat.groupsize'", "'qat.quantizer.groupsize'",
      "'quantizer' (r.yaml:7) is empty"}},
    {"TopLevelKey",
     "max_steps: 3\n",
     {"r.yaml:6", "move it to 'step_scheduler.max_steps'", "indentation lost?"}},
    {"DelayUnderQuantizer",
     "qat:\n  quantizer:\n    groupsize: 64\n    delay_fake_quant_steps: 9\n",
     {"r.yaml:9: unknown key 'qat.quantizer.delay_fake_quant_steps' (value: '9')",
      "move it to 'qat.delay_fake_quant_steps'"}},
    {"AutomodelDelayUnderConfig",
     "qat: {qat_config: {fake_quant_after_n_steps: 9}}\n",
     {"r.yaml:6", "move it to 'qat.delay_fake_quant_steps'"}},
    {"WrongSection", "step_scheduler: {lr: 1e-3}\n", {"r.yaml:6", "move it to 'optimizer.lr'"}},
    {"Typo",
     "qat: {enabeld: true}\n",
     {"r.yaml:6: unknown key 'qat.enabeld' (value: 'true')", "did you mean 'qat.enabled'?"}},
    {"WrongCase", "optimizer: {LR: 1}\n", {"r.yaml:6", "did you mean 'optimizer.lr'?"}},
    {"TypoInSection", "qta: {enabled: true}\n", {"r.yaml:6", "did you mean 'qat'?"}},
    {"TypoInValidation",
     "validation_dataset: {splt: x}\n",
     {"r.yaml:6", "did you mean 'validation_dataset.split'?"}},
    {"NothingNear",
     "clip_grad_norm: {window: 3}\n",
     {"r.yaml:6", "keys of 'clip_grad_norm': _target_, foreach, max_norm"}},
    {"ScalarSection", "qat: true\n", {"r.yaml:6: qat is a section", "got 'true'"}},
};
INSTANTIATE_TEST_SUITE_P(Places, RecipeError, ::testing::ValuesIn(kPlaces), test_name);

const WrongRecipe kValues[] = {
    {"GroupSizeZero",
     "qat: {quantizer: {groupsize: 0}}\n",
     {"r.yaml:6: qat.quantizer.groupsize: expected positive integer or -1, got '0'"}},
    {"GroupSizeNegative",
     "qat: {quantizer: {group_size: -32}}\n",
     {"r.yaml:6: qat.quantizer.group_size (qat.quantizer.groupsize): expected positive integer or "
      "-1, got '-32'"}},
    {"IntegerIsText",
     "step_scheduler: {max_steps: abc}\n",
     {"r.yaml:6: step_scheduler.max_steps: expected positive integer or null, got 'abc'"}},
    {"IntegerIsFraction", "seed: 1.5\n", {"r.yaml:6: seed: expected integer >= 0, got '1.5'"}},
    {"IntegerIsTooLarge", "seed: 1e300\n", {"r.yaml:6: seed"}},
    {"IntegerIsBool", "seed: true\n", {"got 'true'"}},
    {"BoolIsNumber",
     "qat: {enabled: 2}\n",
     {"r.yaml:6: qat.enabled: expected true | false, got '2'"}},
    {"NumberIsNan", "optimizer: {lr: nan}\n", {"optimizer.lr: expected number >= 0, got 'nan'"}},
    {"NumberIsInfinite", "optimizer: {lr: inf}\n", {"got 'inf'"}},
    {"NumberHasUnit", "optimizer: {lr: 1e-5x}\n", {"got '1e-5x'"}},
    {"NumberIsList", "optimizer: {lr: [1]}\n", {"got [1]"}},
    {"NegativeRate", "optimizer: {lr: -1e-5}\n", {"r.yaml:6", "got '-1e-5'"}},
    {"ZeroEps", "optimizer: {eps: 0}\n", {"expected positive number"}},
    {"ZeroNorm", "clip_grad_norm: {max_norm: 0}\n", {"positive number or null"}},
    {"OneBeta", "optimizer: {betas: [0.9]}\n", {"list of two numbers in [0, 1), got [0.9]"}},
    {"BetaOne", "optimizer: {betas: [0.9, 1]}\n", {"got [0.9, 1]"}},
    {"UnknownOptimizer",
     "optimizer: {_target_: torch.optim.SGD}\n",
     {"expected AdamW | Adam, got 'torch.optim.SGD'"}},
    {"UnknownQuantizer",
     "qat: {quantizer: {_target_: torchao.X}}\n",
     {"Int8DynActInt4WeightQATQuantizer | Int4WeightOnlyQATQuantizer", "got 'torchao.X'"}},
    {"Half", "qat: {quantizer: {scales_precision: float16}}\n", {"expected float32 | bfloat16"}},
    {"PathIsMap", "checkpoint: {checkpoint_dir: {a: b}}\n", {"expected string, got a map"}},
    {"ListOfMaps", "generate: {prompts: [{a: b}]}\n", {"expected string or list of strings"}},
    {"Dpo",
     "task: {type: dpo}\n",
     {"r.yaml:6: task.type", "(SFT) only", "got 'dpo'", "allowed: sft"}},
    {"Lora", "peft: {dim: 8}\n", {"r.yaml:6: peft", "LoRA"}},
    {"Padding", "qat: {quantizer: {padding_allowed: true}}\n", {"padded groups"}},
    {"Packing", "packed_sequence: {packed_sequence_size: 1024}\n", {"not packed"}},
    {"TensorParallel", "distributed: {tp_size: 2}\n", {"one process", "got '2'"}},
    {"DataParallel", "distributed: {dp_size: 8}\n", {"one process", "got '8'"}},
    {"Fp8", "fp8: {enabled: true}\n", {"fp8 training is not supported"}},
    {"Distillation", "loss_fn: {_target_: x.KDLoss}\n", {"cross entropy"}},
    {"FromConfig", "model: {model_name: m, _target_: a.from_config}\n", {"pretrained"}, true},
};
INSTANTIATE_TEST_SUITE_P(Values, RecipeError, ::testing::ValuesIn(kValues), test_name);

const std::string kModel = "model: {model_name: m}\n";
const WrongRecipe kCombinations[] = {
    {"NoModel",
     "qat: {enabled: true}\n",
     {"r.yaml: model.pretrained_model_name_or_path is missing", "for example"},
     true},
    {"NoDataset",
     kModel,
     {"r.yaml: dataset.path_or_dataset_id is missing", "path_or_dataset_id: rows.jsonl"},
     true},
    {"NoColumns",
     kModel + "dataset: {path_or_dataset_id: a}\n",
     {"dataset.column_mapping needs", "answer: output"},
     true},
    {"NoAnswerColumn",
     kModel + "dataset: {path_or_dataset_id: a, column_mapping: {question: q}}\n",
     {"dataset.column_mapping needs"},
     true},
    {"ColumnsOfChat", "  column_mapping: {answer: b}\n", {"remove it"}},
    {"AliasConflict",
     "trainer: {max_steps: 5}\nstep_scheduler: {max_steps: 4}\n",
     {"r.yaml:7: step_scheduler.max_steps is 4", "trainer.max_steps (r.yaml:6) is 5"}},
    {"QuantizerConflict",
     "qat: {quantizer: {_target_: 8da4w}, qat_config: {quantizer_type: int4_weight_only}}\n",
     {"r.yaml:6", "same setting"}},
    {"BatchSizes",
     "step_scheduler: {global_batch_size: 6, local_batch_size: 4}\n",
     {"r.yaml:6: step_scheduler.global_batch_size is 6, not a multiple"}},
    {"DelayTooLong",
     "qat: {enabled: true, delay_fake_quant_steps: 9}\ntrainer: {max_steps: 9}\n",
     {"r.yaml:6: qat.delay_fake_quant_steps is 9", "only 9 steps", "allow_delay_beyond_training"}},
    {"WeightDelayTooLong",
     "qat: {enabled: true, delay_weight_fake_quant_steps: 9}\ntrainer: {max_steps: 9}\n",
     {"r.yaml:6: qat.delay_weight_fake_quant_steps is 9"}},
    {"AsymmetricActivations", "qat: {quantizer: {grid: asymmetric}}\n", {"symmetric grid only"}},
    {"AsymmetricFloatScales",
     "qat: {quantizer: {_target_: 4w, scales_precision: float32}}\n",
     {"r.yaml:6: qat.quantizer.scales_precision", "bfloat16 scales"}},
    {"WarmUpTooLong",
     "lr_scheduler: {lr_warmup_steps: 9, lr_decay_steps: 9}\n",
     {"lr_scheduler.lr_warmup_steps must be below"}},
    {"MinimumAboveRate", "lr_scheduler: {min_lr: 1}\n", {"lr_scheduler.min_lr is above"}},
    {"WsdWithoutLength", "lr_scheduler: {lr_decay_style: WSD}\n", {"wsd_decay_steps is missing"}},
    {"EvaluationWithoutRows", "evaluate: {enabled: true}\n", {"add a validation_dataset"}},
};
INSTANTIATE_TEST_SUITE_P(Combinations, RecipeError, ::testing::ValuesIn(kCombinations), test_name);

TEST(RecipeFile, MissingFileAndDirectoryAreNamed) {
  EXPECT_THROW(load_recipe("no/such/recipe.yaml"), Error);
  EXPECT_THROW(load_recipe(NIBBLE_SOURCE_DIR), Error);
}

}  // namespace
}  // namespace nibble::train
