"""Exports models with the built programs and opens them with the programs of others.

NIBBLE_BIN is the folder of the built programs.
"""

import os
import subprocess
import tempfile
import unittest
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file

BIN = Path(os.environ["NIBBLE_BIN"])
TOKENS = [1, 17, 42, 99, 3, 250, 128, 7, 200, 64, 31, 5]


def run_program(program, *arguments):
    return subprocess.run([str(BIN / program), *map(str, arguments)], capture_output=True,
                          text=True, timeout=1200)


class ConsumerTestCase(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory(prefix="nibble.")
        self.addCleanup(temporary.cleanup)
        self.folder = Path(temporary.name)

    def convert(self, model, format, *flags):
        output = self.folder / f"{Path(model).name}.{format}{len(list(self.folder.iterdir()))}"
        done = run_program("qat_convert", "--checkpoint", model, "--format", format, "--output",
                           output, *flags)
        self.assertEqual(done.returncode, 0, done.stderr)
        return output

    def logits(self, model):
        """What nibble computes with an exported model, [tokens, vocabulary] in float32."""
        out = self.folder / "logits.safetensors"
        done = run_program("qat_eval", "--model", model, "--logits", ",".join(map(str, TOKENS)),
                           "--out", out)
        self.assertEqual(done.returncode, 0, done.stderr)
        return load_file(out)["logits"]

    @staticmethod
    def relative_rms(got, want):
        return float(np.sqrt(((got - want) ** 2).mean() / (want ** 2).mean()))

    def assert_agrees(self, neighbours, want, limit, message=None):
        """That the logits or those of a neighbour, see transformers_logits(), are within `limit`."""
        self.assertLess(min(self.relative_rms(got, want) for got in neighbours), limit, message)

    def transformers_logits(self, folder, expected_linears):
        """Loads a directory, checks that nothing was missing and that the Linears are quantized.

        An activation or a zero point that lies on the edge between two integers makes the logits
        jump by a hundredth when a sum is added up in another order. So here are the logits, and
        those of neighbours whose embeddings differ in the last bit."""
        from transformers import AutoModelForCausalLM
        model, info = AutoModelForCausalLM.from_pretrained(folder, dtype="auto",
                                                           output_loading_info=True)
        for key in ("missing_keys", "unexpected_keys", "mismatched_keys"):
            self.assertFalse(info.get(key), f"{key}: {info.get(key)}")
        self.assertEqual(model.dtype, torch.float32)
        quantized = [name for name, module in model.named_modules()
                     if isinstance(module, torch.nn.Linear) and self.is_quantized(module)]
        self.assertEqual(len(quantized), expected_linears)
        model.eval()
        generator = torch.Generator().manual_seed(1)
        logits = []
        for noise in (0.0, 1e-7, 1e-7, 1e-7, 1e-7):
            def shake(module, inputs, output):
                return output * (1 + noise * torch.randn(output.shape, generator=generator))
            hook = model.get_input_embeddings().register_forward_hook(shake)
            with torch.no_grad():
                logits.append(model(torch.tensor([TOKENS])).logits[0].float().numpy())
            hook.remove()
        return logits

    @staticmethod
    def is_quantized(module):
        return (hasattr(module, "weight_scale")
                or type(module.weight).__name__ == "IntxUnpackedToInt8Tensor"
                or type(module.weight.data).__name__ == "IntxUnpackedToInt8Tensor")
