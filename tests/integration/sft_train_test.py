"""sft_train from recipe to files."""

import json
import unittest

from program_test_case import ProgramTestCase

QUANTIZER = """\
model:
  model_name: meta-llama/Llama-3.2-1B
task:
  type: sft
qat:
  enabled: true
  quantizer:
    _target_: torchao.quantization.qat.{quantizer}
    groupsize: {groupsize}
"""
INT8_INT4 = QUANTIZER.format(quantizer="Int8DynActInt4WeightQATQuantizer", groupsize=256)
INT4 = QUANTIZER.format(quantizer="Int4WeightOnlyQATQuantizer", groupsize=128)
DELAY = "  delay_fake_quant_steps: 1000\n"
TRAINER = "trainer:\n  max_steps: 5000\n  val_check_interval: 500\n"
RECIPES_OF_THE_ORIGINAL = {
    "8da4w": INT8_INT4,
    "4w": INT4,
    "delay": INT8_INT4 + DELAY,
    "workflow": INT8_INT4 + DELAY + TRAINER,
    "delay_alone": "qat:\n" + DELAY,
}


class SftTrainTest(ProgramTestCase):
    def test_trains_validates_converts_and_compares(self):
        done = self.train("run", *self.validation(), "--convert.enabled", "--evaluate.enabled",
                          "--generate.prompts", "['Say kiwi']", "--generate.max_new_tokens", "4")
        run = self.folder / "run"
        self.assertEqual(self.column("run", "step"), list(range(6)))
        self.assertTrue(all(self.column("run", "fake_quant")))
        self.assertEqual((run / "LATEST").resolve().name, "epoch_0_step_5")
        for name in ("model/config.json", "model/model.safetensors", "model/tokenizer.json",
                     "optim.safetensors", "state.json", "config.yaml"):
            self.assertTrue((run / "LATEST" / name).is_file(), name)
        evaluation = json.loads((run / "evaluation.json").read_text())
        self.assertLess(evaluation["qat"]["loss"], evaluation["ptq"]["loss"])
        self.assertTrue((run / "quantized" / "model.safetensors").is_file())
        self.assertIn("Say kiwi", done.stderr + done.stdout)
        self.assertIn("step 5", done.stderr)

    def test_the_same_command_again_only_repeats_the_end(self):
        overrides = (*self.validation(), "--convert.enabled", "--evaluate.enabled")
        self.train("run", *overrides)
        files = ("training.jsonl", "evaluation.json", "quantized/model.safetensors")
        before = [(self.folder / "run" / name).read_bytes() for name in files]
        self.train("run", *overrides)
        self.assertEqual(before, [(self.folder / "run" / name).read_bytes() for name in files])

    def test_recipes_of_the_original_train(self):
        for name, recipe in RECIPES_OF_THE_ORIGINAL.items():
            with self.subTest(name):
                self.recipe.write_text(recipe)
                done = self.train(
                    name, "--model.pretrained_model_name_or_path", self.folder / "model",
                    "--dataset.path_or_dataset_id", self.folder / "rows.jsonl",
                    "--dataset.column_mapping",
                    "{question: [instruction, input], answer: output}",
                    "--qat.quantizer.groupsize", 32, "--step_scheduler.max_steps", 2,
                    *(("--qat.delay_fake_quant_steps", 1) if "delay_fake" in recipe else ()))
                quantized = "quantizer" in recipe
                delayed = "delay_fake" in recipe
                self.assertEqual(self.column(name, "fake_quant"),
                                 [quantized and not delayed, quantized])
                if not quantized:
                    self.assertIn("QAT is off", done.stderr)


if __name__ == "__main__":
    unittest.main()
