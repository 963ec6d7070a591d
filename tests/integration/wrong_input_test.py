"""Wrong recipes and damaged files: one clear line, a non-zero exit code, nothing left behind."""

import os
import struct
import unittest

from program_test_case import ProgramTestCase


class WrongInputTest(ProgramTestCase):
    def assert_training_fails(self, overrides, *parts):
        done = self.run_program("sft_train", "--config", self.recipe,
                                "--checkpoint.checkpoint_dir", self.folder / "run", *overrides)
        self.assert_fails(done, *parts)
        self.assertFalse((self.folder / "run").exists(), "something is left behind")

    def test_recipes(self):
        text = self.recipe.read_text()
        wrong = {
            "group size": (text.replace("groupsize: 32", "groupsize: 0"),
                           ("recipe.yaml:13", "qat.quantizer.groupsize", "0")),
            "typo": (text.replace("optimizer:\n  lr:", "optimizer:\n  lrr:"),
                     ("recipe.yaml:8", "optimizer.lrr", "optimizer.lr")),
            "tab": (text.replace("  lr:", "\tlr:"), ("recipe.yaml:8",)),
            "duplicate": (text + "optimizer: {lr: 1}\n", ("recipe.yaml:14", "optimizer")),
            "task": (text + "task: {type: dpo}\n", ("recipe.yaml:14", "task.type", "dpo")),
            "delay": (text + "  delay_fake_quant_steps: 6\n",
                      ("recipe.yaml:14", "qat.delay_fake_quant_steps", "6")),
        }
        for name, (recipe, parts) in wrong.items():
            with self.subTest(name):
                self.recipe.write_text(recipe)
                self.assert_training_fails((), *parts)

    def test_group_size_that_does_not_fit(self):
        self.recipe.write_text(self.recipe.read_text().replace("groupsize: 32", "groupsize: 256"))
        done = self.run_program("sft_train", "--config", self.recipe,
                                "--checkpoint.checkpoint_dir", self.folder / "run")
        self.assertEqual(done.returncode, 1)
        message = done.stderr.strip().splitlines()[-1]
        for part in ("recipe.yaml:13", "qat.quantizer.groupsize", "256", "32, 64"):
            self.assertIn(part, message)
        self.assertFalse((self.folder / "run").exists())

    def test_several_processes(self):
        os.environ["WORLD_SIZE"] = "2"
        try:
            self.assert_training_fails((), "WORLD_SIZE is 2")
        finally:
            del os.environ["WORLD_SIZE"]

    def test_missing_files(self):
        absent = self.folder / "absent"
        self.assert_training_fails(("--model.pretrained_model_name_or_path", absent), str(absent))
        self.assert_training_fails(("--dataset.path_or_dataset_id", absent), str(absent))
        done = self.run_program("sft_train", "--config", absent)
        self.assert_fails(done, str(absent))

    def test_truncated_safetensors(self):
        weights = self.folder / "model" / "model.safetensors"
        content = weights.read_bytes()
        for size in (0, 4, 100, len(content) - 1):
            with self.subTest(size):
                weights.write_bytes(content[:size])
                self.assert_training_fails((), "model.safetensors")

    def test_corrupt_gguf(self):
        model = self.folder / "model.gguf"
        headers = {
            "magic": b"GGML" + bytes(64),
            "version": b"GGUF" + struct.pack("<IQQ", 99, 0, 0),
            "counts": b"GGUF" + struct.pack("<IQQ", 3, 2**63, 2**63) + bytes(64),
            "cut": b"GGUF" + struct.pack("<I", 3),
        }
        for name, header in headers.items():
            with self.subTest(name):
                model.write_bytes(header)
                self.assert_training_fails(("--model.pretrained_model_name_or_path", model),
                                           "model.gguf")

    def test_rows(self):
        rows = self.folder / "rows.jsonl"
        rows.write_text("")
        self.assert_training_fails((), "rows.jsonl")
        rows.write_text('{"instruction": "a", "input": "b", "output": "c"}\n{"instruction": 1\n')
        self.assert_training_fails((), "rows.jsonl:2:", "recipe.yaml:4")
        rows.write_text('{"messages": [{"role": "user", "content": "a"}]}\n')
        self.assert_training_fails(
            ("--dataset._target_", "ChatDataset", "--dataset.column_mapping", "none"),
            "rows.jsonl:1")


if __name__ == "__main__":
    unittest.main()
