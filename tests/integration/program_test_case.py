"""Runs the built programs on the tiny model. NIBBLE_BIN is the folder they stand in."""

import json
import os
import struct
import subprocess
import tempfile
import unittest
from pathlib import Path

BIN = Path(os.environ["NIBBLE_BIN"])

RECIPE = """\
model:
  pretrained_model_name_or_path: {folder}/model
dataset:
  path_or_dataset_id: {folder}/rows.jsonl
  column_mapping: {{question: [instruction, input], answer: output}}
step_scheduler: {{global_batch_size: 4, local_batch_size: 2, max_steps: 6}}
optimizer:
  lr: 3.0e-3
qat:
  enabled: true
  quantizer:
    _target_: Int8DynActInt4WeightQATQuantizer
    groupsize: 32
"""


def read_safetensors(path):
    """Name -> (dtype, shape, bytes)."""
    content = path.read_bytes()
    (size,) = struct.unpack_from("<Q", content)
    header = json.loads(content[8:8 + size])
    header.pop("__metadata__", None)
    return {name: (entry["dtype"], entry["shape"],
                   content[8 + size:][slice(*entry["data_offsets"])])
            for name, entry in header.items()}


class ProgramTestCase(unittest.TestCase):
    """A temporary folder with model/, rows.jsonl, validation.jsonl and recipe.yaml."""

    def setUp(self):
        temporary = tempfile.TemporaryDirectory(prefix="nibble.")
        self.addCleanup(temporary.cleanup)
        self.folder = Path(temporary.name)
        subprocess.run([BIN / "nibble_write_tiny_model", self.folder], check=True)
        self.recipe = self.folder / "recipe.yaml"
        self.recipe.write_text(RECIPE.format(folder=self.folder))

    def command(self, program, *arguments):
        return [str(BIN / program), *map(str, arguments)]

    def run_program(self, program, *arguments):
        return subprocess.run(self.command(program, *arguments), capture_output=True, text=True,
                              timeout=120)

    def training(self, run, *overrides):
        """The command that trains recipe.yaml into the folder `run`."""
        return self.command("sft_train", "--config", self.recipe, "--checkpoint.checkpoint_dir",
                            self.folder / run, *overrides)

    def train(self, run, *overrides):
        done = subprocess.run(self.training(run, *overrides), capture_output=True, text=True,
                              timeout=120)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done

    def validation(self):
        """The overrides that add validation rows."""
        return ("--validation_dataset.path_or_dataset_id", self.folder / "validation.jsonl",
                "--validation_dataset.column_mapping",
                "{question: [instruction, input], answer: output}")

    def log(self, run, name="training.jsonl"):
        """The records of a log; a line that is not whole yet is left out."""
        path = self.folder / run / name
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def column(self, run, key):
        return [record[key] for record in self.log(run)]

    def assert_fails(self, done, *parts):
        """The program failed with one line on standard error that holds all `parts`."""
        self.assertGreater(done.returncode, 0, done.stderr)
        lines = done.stderr.strip().splitlines()
        self.assertEqual(len(lines), 1, done.stderr)
        for part in parts:
            self.assertIn(part, lines[0])
