"""Converted SmolLM2-135M: how large the files and the model in memory are, beside bfloat16."""

import json
import os
import unittest
from pathlib import Path

from program_test_case import ProgramTestCase

NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
MODEL = Path(os.environ.get("NIBBLE_SMOLLM2_GGUF",
                            Path(__file__).resolve().parents[2] / "models" / NAME))
LIMIT = 0.34


@unittest.skipUnless(MODEL.is_file(), f"no {NAME} (NIBBLE_SMOLLM2_GGUF)")
class SizeTest(ProgramTestCase):
    def convert(self, checkpoint, name, *arguments):
        output = self.folder / name
        done = self.run_program("qat_convert", "--checkpoint", checkpoint, "--output", output,
                                "--scheme", "4w", "--group-size", 32, *arguments)
        self.assertEqual(done.returncode, 0, done.stderr)
        return output

    @staticmethod
    def bytes_of(path):
        files = [path] if path.is_file() else path.iterdir()
        return sum(file.stat().st_size for file in files)

    def model_bytes(self, path):
        done = self.run_program("qat_generate", "--model", path, "--dtype", "bfloat16", "--raw",
                                "--prompt", "The", "--max-new-tokens", 2, "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)["memory"]["model_bytes"]

    def test_an_int8_embedding_makes_it_a_third(self):
        plain = self.convert(MODEL, "plain", "--format", "hf")
        ours = self.convert(plain, "ours", "--format", "compressed-tensors", "--embedding", "int8")
        gguf = self.convert(plain, "model.gguf", "--format", "gguf", "--allow-inexact")
        whole = self.bytes_of(plain)  # tokenizer and configuration included, as in the others
        in_memory = self.model_bytes(plain)
        for path in (ours, gguf):
            self.assertLessEqual(self.bytes_of(path), LIMIT * whole, path)
        self.assertLessEqual(self.model_bytes(ours), LIMIT * in_memory)


if __name__ == "__main__":
    unittest.main()
