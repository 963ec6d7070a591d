"""qat_generate and qat_eval on the full-precision and the converted model."""

import json
import struct
import unittest

from program_test_case import ProgramTestCase, read_safetensors


class InferenceTest(ProgramTestCase):
    def setUp(self):
        super().setUp()
        self.train("run", "--convert.enabled")
        self.quantized = self.folder / "run" / "quantized"

    def logits(self, model, *arguments):
        out = self.folder / "logits.safetensors"
        done = self.run_program("qat_eval", "--model", model, "--logits", "72,105,33", "--out", out,
                                *arguments)
        self.assertEqual(done.returncode, 0, done.stderr)
        return read_safetensors(out)

    def test_generates_text(self):
        arguments = ("--prompt", "Say kiwi", "--max-new-tokens", 8)
        for model in (self.folder / "model", self.quantized):
            done = self.run_program("qat_generate", "--model", model, *arguments)
            self.assertEqual(done.returncode, 0, done.stderr)
            answer = self.run_program("qat_generate", "--model", model, *arguments, "--json")
            answer = json.loads(answer.stdout)
            self.assertEqual(done.stdout.strip(), answer["text"].strip())
            self.assertTrue(1 <= len(answer["tokens"]) <= 8)
        raw = self.run_program("qat_generate", "--model", self.quantized, *arguments, "--json",
                               "--raw")
        self.assertEqual(json.loads(raw.stdout)["prompt_tokens"], len("Say kiwi"))

    def test_logits(self):
        quantized = self.logits(self.quantized)
        self.assertEqual(quantized["logits"][:2], ("F32", [3, 300]))
        self.assertEqual(quantized["tokens"], ("I64", [3], struct.pack("<3q", 72, 105, 33)))
        # The trained weights, quantized after training, are what convert wrote.
        trained = self.folder / "run" / "LATEST" / "model"
        scheme = ("--quantize", "8da4w", "--group-size", 32, "--scale-dtype", "bfloat16")
        self.assertEqual(self.logits(trained, *scheme), quantized)
        self.assertNotEqual(self.logits(trained), quantized)

    def test_errors(self):
        done = self.run_program("qat_eval", "--model", self.quantized, "--logits", "72,300",
                                "--out", self.folder / "none.safetensors")
        self.assert_fails(done, "300")
        self.assertFalse((self.folder / "none.safetensors").exists())
        for ids in ("", "1,,2", "1,2,", "one", "99999999999999999999"):
            done = self.run_program("qat_eval", "--model", self.quantized, "--logits", ids, "--out",
                                    self.folder / "none.safetensors")
            self.assert_fails(done, "separated by commas")
        done = self.run_program("qat_generate", "--model", self.folder / "absent", "--prompt", "a")
        self.assert_fails(done, "absent")


if __name__ == "__main__":
    unittest.main()
