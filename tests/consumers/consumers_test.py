"""Exports opened by transformers (with torchao and with compressed-tensors), ExecuTorch and llama.cpp.

A package that is not installed skips its tests and says so. docs/formats.md has the command.
"""

import importlib.util
import unittest

import numpy as np
from safetensors.numpy import load_file, save_file
from safetensors.torch import load_file as load_torch_file

import tiny_models
from consumer_test_case import TOKENS, ConsumerTestCase

LINEARS = 14
# float32 models. compressed-tensors divides where TorchAO and this library multiply by 1/s, and
# XNNPACK rounds activations in its own way, so a code of theirs flips now and then.
EXACT, FLIPS = 1e-4, 8e-3
# llama.cpp rounds activations to Q8_0 before each product.
LLAMA_CPP = 5e-2


def needs(*packages):
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    return unittest.skipIf(missing, f"not installed: {', '.join(missing)}")


class DirectoryTest(ConsumerTestCase):
    def check(self, model, format, limit, *flags):
        source = self.folder / model
        if not source.exists():
            tiny_models.write(model, source, max_shard_size="1MB")
        exported = self.convert(source, format, "--scale-dtype", "float32", *flags)
        got = self.transformers_logits(exported, LINEARS)
        self.assert_agrees(got, self.logits(exported), limit)
        return exported

    @needs("torchao")
    def test_torchao(self):
        for model in tiny_models.CASES:
            for scheme, group in (("8da4w", 32), ("4w", 128)):
                with self.subTest(model=model, scheme=scheme):
                    self.check(model, "torchao", EXACT, "--scheme", scheme, "--group-size", group)

    @needs("torchao")
    def test_torchao_other_groups(self):
        for group in (64, 256):
            with self.subTest(group=group):
                self.check("llama", "torchao", EXACT, "--scheme", "8da4w", "--group-size", group)

    @needs("torchao")
    @unittest.expectedFailure  # transformers 5.23 opens TorchAO tensors in one file only
    def test_torchao_in_shards(self):
        self.check("llama", "torchao", EXACT, "--scheme", "8da4w", "--max-shard-bytes", 500_000)

    @needs("compressed_tensors")
    def test_compressed_tensors_pack_quantized(self):
        for model in tiny_models.CASES:
            for group in (32, 64, 128, 256):
                with self.subTest(model=model, group=group):
                    self.check(model, "compressed-tensors", EXACT, "--scheme", "4w",
                               "--group-size", group)
        self.check("llama", "compressed-tensors", FLIPS, "--scheme", "8da4w", "--pack")

    @needs("compressed_tensors")
    def test_compressed_tensors_int_quantized(self):
        for model in tiny_models.CASES:
            with self.subTest(model=model):
                self.check(model, "compressed-tensors", FLIPS, "--scheme", "8da4w",
                           "--group-size", 64, "--max-shard-bytes", 500_000)

    @needs("torchao")
    def test_damage_is_seen(self):
        """The comparison above can fail: one wrong scale, swapped neighbours."""
        exported = self.check("llama", "torchao", EXACT, "--scheme", "4w")
        want = self.logits(exported)
        file = exported / "model.safetensors"
        from safetensors import safe_open
        with safe_open(file, "np") as opened:
            metadata = opened.metadata()
        whole = load_file(file)
        name = "model.layers.1.mlp.up_proj._weight_"
        scale = whole[name + "scale"].copy()
        scale[0, 0] *= 4
        codes = whole[name + "qdata"].reshape(-1, 2)[:, ::-1].reshape(whole[name + "qdata"].shape)
        for key, value in ((name + "scale", scale), (name + "qdata", codes)):
            save_file({**whole, key: np.ascontiguousarray(value)}, file, metadata)
            for got in self.transformers_logits(exported, LINEARS):
                self.assertGreater(self.relative_rms(got, want), EXACT, key)


class ExecuTorchTest(ConsumerTestCase):
    """A TorchAO directory through transformers and torch.export, run by XNNPACK."""

    @needs("torchao", "executorch")
    def test_xnnpack_takes_every_quantized_linear(self):
        cases = [(model, 32) for model in tiny_models.CASES]
        for model, group in cases + [("llama", 64), ("llama", 128), ("llama", 256)]:
            with self.subTest(model=model, group=group):
                source = self.folder / model
                if not source.exists():
                    tiny_models.write(model, source)
                # XNNPACK keeps scales in bfloat16.
                exported = self.convert(source, "torchao", "--scheme", "8da4w", "--group-size",
                                        group, "--scale-dtype", "bfloat16")
                got = self.run_by_xnnpack(exported)
                self.assertLess(self.relative_rms(got, self.logits(exported)), FLIPS)

    def run_by_xnnpack(self, folder):
        import torch
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import to_edge_transform_and_lower
        from executorch.runtime import Runtime
        from transformers import AutoModelForCausalLM

        class Logits(torch.nn.Module):
            def __init__(self, model):
                super().__init__()
                self.model = model

            def forward(self, ids):
                return self.model(input_ids=ids, use_cache=False).logits

        model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto",
                                                     attn_implementation="eager").eval()
        model.requires_grad_(False)  # torch.export fails on integers that require a gradient
        ids = torch.tensor([TOKENS])
        with torch.no_grad():
            program = to_edge_transform_and_lower(
                torch.export.export(Logits(model), (ids,), strict=False),
                partitioner=[XnnpackPartitioner()]).to_executorch()
        operations = [str(node.target) for node in program.exported_program().graph.nodes
                      if node.op == "call_function"]
        left = [name for name in operations
                if any(part in name for part in ("linear", "quantize", "choose_qparams", "::mm"))]
        self.assertEqual(left, [], "not delegated")
        file = self.folder / "model.pte"
        file.write_bytes(program.buffer)
        method = Runtime.get().load_program(file).load_method("forward")
        return method.execute([ids])[0][0].float().numpy()


class GgufTest(ConsumerTestCase):
    def exported(self, model, *flags):
        source = self.folder / model
        if not source.exists():
            tiny_models.write(model, source)
        return source, self.convert(source, "gguf", *flags)

    @needs("gguf")
    def test_weights_are_the_trained_ones(self):
        from gguf import GGUFReader
        from gguf.quants import dequantize
        for model in tiny_models.CASES:
            for group in (32, 64, 128, 256):
                with self.subTest(model=model, group=group):
                    flags = ("--scheme", "8da4w", "--group-size", group)
                    source, file = self.exported(model, *flags)
                    want = load_torch_file(
                        self.convert(source, "torchao", *flags) / "model.safetensors")
                    read = {t.name: t for t in GGUFReader(file).tensors}
                    for gguf_name, name in (("attn_v", "self_attn.v_proj"),
                                            ("attn_q", "self_attn.q_proj"),
                                            ("ffn_down", "mlp.down_proj")):
                        stored = read[f"blk.1.{gguf_name}.weight"]
                        codes = want[f"model.layers.1.{name}._weight_qdata"].float().numpy()
                        scales = want[f"model.layers.1.{name}._weight_scale"].float().numpy()
                        weight = codes * np.repeat(scales, group, axis=1)
                        if gguf_name == "attn_q" and model.startswith("llama"):
                            weight = weight.reshape(4, 2, 32, -1).swapaxes(1, 2).reshape(256, -1)
                        got = dequantize(stored.data, stored.tensor_type).reshape(weight.shape)
                        np.testing.assert_array_equal(got, weight)

    @needs("llama_cpp")
    def test_llama_cpp(self):
        import llama_cpp
        for model in tiny_models.CASES:
            with self.subTest(model=model):
                source, file = self.exported(model, "--scheme", "4w", "--group-size", 32,
                                             "--embedding", "unchanged")
                opened = llama_cpp.Llama(model_path=str(file), n_ctx=64, logits_all=True,
                                         verbose=False, n_threads=2,
                                         type_k=llama_cpp.GGML_TYPE_F32,
                                         type_v=llama_cpp.GGML_TYPE_F32)
                opened.eval(TOKENS)
                got = np.array(opened.scores[:len(TOKENS)], dtype=np.float32)
                self.assertLess(self.relative_rms(got, self.logits(file)), LLAMA_CPP)
                text = "the quick brown fox, 12 times"
                ids = opened.tokenize(text.encode(), add_bos=False, special=True)
                self.assertEqual(ids, tiny_models.tokenizer()(text)["input_ids"])


if __name__ == "__main__":
    unittest.main()
