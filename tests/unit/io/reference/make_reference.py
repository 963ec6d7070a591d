#!/usr/bin/env python3
"""Writes the reference numbers of the io tests beside this file.

usage: make_reference.py [MODEL.gguf HF_DIR]

ggml_blocks.json        random blocks of each tensor type and what the gguf package makes of them
safetensors_bytes.json  a small file as the safetensors package writes it
smollm2_gguf.json       (with arguments) the checksums of a GGUF model converted to a Hugging Face
                        directory with bfloat16 weights, and its small JSON files in full
Needs numpy, torch, gguf, safetensors.
"""
import json
import os
import sys
import zlib

import gguf
import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save

HERE = os.path.dirname(os.path.abspath(__file__))
TYPES = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q4_K", "Q5_K", "Q6_K"]
BLOCKS = 3


def write(name, value):
    with open(os.path.join(HERE, name), "w", encoding="utf-8") as f:
        json.dump(value, f, indent=1)
        f.write("\n")


def random_blocks(rng, kind):
    """Random bytes; whole blocks whose values come out finite."""
    _, size = gguf.GGML_QUANT_SIZES[kind]
    blocks = []
    while len(blocks) < BLOCKS:
        block = rng.integers(0, 256, size, dtype=np.uint8)
        with np.errstate(all="ignore"):
            values = gguf.quants.dequantize(block, kind)
        if np.isfinite(values).all():
            blocks.append(block)
    return np.concatenate(blocks)


def ggml_blocks():
    rng = np.random.default_rng(20)
    cases = []
    for name in TYPES:
        kind = gguf.GGMLQuantizationType[name]
        blocks = random_blocks(rng, kind)
        values = gguf.quants.dequantize(blocks, kind).astype(np.float32)
        cases.append({"type": name, "id": int(kind), "blocks": blocks.tobytes().hex(),
                      "float32": values.tobytes().hex()})
    return cases


def safetensors_bytes():
    tensors = {
        "b": torch.tensor([1.5, -2.0], dtype=torch.bfloat16),
        "a": torch.tensor([[1, 2, 3]], dtype=torch.int64),
        "c.weight": torch.tensor([[0.1], [0.2]], dtype=torch.float32),
        "flag": torch.tensor([True, False, True]),
        "empty": torch.zeros(0, 4, dtype=torch.float16),
        "scalar": torch.tensor(7, dtype=torch.uint8),
    }
    return {"bytes": save(tensors, metadata={"format": "pt"}).hex()}


def canonical_crc(value):
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return zlib.crc32(text.encode())


def read_json(folder, name):
    with open(os.path.join(folder, name), encoding="utf-8") as f:
        return json.load(f)


def smollm2(model, folder):
    with safe_open(os.path.join(folder, "model.safetensors"), "pt") as f:
        tensors = {name: f.get_tensor(name) for name in sorted(f.keys())}
    assert all(t.dtype == torch.bfloat16 for t in tensors.values())
    with open(os.path.join(folder, "chat_template.jinja"), encoding="utf-8") as f:
        template = f.read()
    return {
        "model": os.path.basename(model),
        "config": read_json(folder, "config.json"),
        "generation_config": read_json(folder, "generation_config.json"),
        "tokenizer_config": read_json(folder, "tokenizer_config.json"),
        "chat_template": template,
        # CRC-32 of the JSON text with sorted keys and no spaces.
        "tokenizer_json_crc32": canonical_crc(read_json(folder, "tokenizer.json")),
        # Shape and CRC-32 of the bfloat16 bits.
        "tensors": {name: "x".join(map(str, t.shape)) +
                    f" {zlib.crc32(t.view(torch.uint8).numpy().tobytes()):08x}"
                    for name, t in tensors.items()},
    }


def main():
    write("ggml_blocks.json", ggml_blocks())
    write("safetensors_bytes.json", safetensors_bytes())
    if len(sys.argv) == 3:
        write("smollm2_gguf.json", smollm2(sys.argv[1], sys.argv[2]))


if __name__ == "__main__":
    main()
