#!/usr/bin/env python3
"""Times greedy generation of one text: qat_generate, Hugging Face transformers and llama.cpp.

All continue the same prompt in turns, so that the ratios come from one run. A row has the names and
rates of `qat_generate --json`: prefill_tokens_per_second and decode_tokens_per_second, medians over
the rounds. A peer whose package is missing is skipped, and the report says so.
"""

import argparse
import json
import subprocess
import time
from pathlib import Path
from statistics import median

from peers import Skipped, describe_machine, require, write_report


def rates(prefill_tokens, prefill_seconds, decode_tokens, decode_seconds):
    return {"prefill_tokens": prefill_tokens, "decode_tokens": decode_tokens,
            "prefill_tokens_per_second": prefill_tokens / prefill_seconds,
            "decode_tokens_per_second": decode_tokens / decode_seconds}


class Ours:
    """qat_generate on a model; a process a sample, its own clock without loading."""

    def __init__(self, arguments, model):
        self.command = [str(arguments.qat_generate), "--model", model, "--dtype", arguments.dtype,
                        "--raw", "--prompt", arguments.prompt, "--max-new-tokens",
                        str(arguments.new_tokens), "--temperature", "0", "--json"]

    def sample(self):
        done = subprocess.run(self.command, capture_output=True, text=True, check=True)
        report = json.loads(done.stdout)
        return rates(report["prefill_tokens"], report["prefill_seconds"], report["decode_tokens"],
                     report["decode_seconds"]) | {
                         "model_bytes": report["memory"]["model_bytes"]}


class HuggingFace:
    """model(...) with its dynamic cache, the last position's logits and argmax: what generate()
    does, without its checks a token."""

    def __init__(self, arguments, model):
        self.torch, transformers = require("torch", "transformers")
        self.ids = transformers.AutoTokenizer.from_pretrained(model)(
            arguments.prompt, return_tensors="pt")["input_ids"]
        self.model = transformers.AutoModelForCausalLM.from_pretrained(
            model, dtype=getattr(self.torch, arguments.dtype)).eval()
        self.new_tokens = arguments.new_tokens

    def sample(self):
        with self.torch.inference_mode():
            start = time.perf_counter()
            output = self.model(self.ids, use_cache=True, logits_to_keep=1)
            token = output.logits[:, -1].argmax(-1, keepdim=True)
            between = time.perf_counter()
            for _ in range(self.new_tokens - 1):
                output = self.model(token, past_key_values=output.past_key_values, use_cache=True,
                                    logits_to_keep=1)
                token = output.logits[:, -1].argmax(-1, keepdim=True)
            end = time.perf_counter()
        return rates(self.ids.shape[1], between - start, self.new_tokens - 1, end - between)


class LlamaCpp:
    """llama_decode() and argmax; the build decides which instructions it uses."""

    def __init__(self, arguments, model):
        llama_cpp, self.numpy = require("llama_cpp", "numpy")
        self.model = llama_cpp.Llama(model, n_ctx=2048, n_threads=arguments.threads,
                                     n_threads_batch=arguments.threads, verbose=False)
        self.ids = self.model.tokenize(arguments.prompt.encode(), add_bos=False)
        self.new_tokens = arguments.new_tokens

    def best(self):
        logits = self.model._ctx.get_logits()  # of the last position
        return int(self.numpy.ctypeslib.as_array(logits, (self.model.n_vocab(),)).argmax())

    def sample(self):
        self.model.reset()
        start = time.perf_counter()
        self.model.eval(self.ids)
        token = self.best()
        between = time.perf_counter()
        for _ in range(self.new_tokens - 1):
            self.model.eval([token])
            token = self.best()
        end = time.perf_counter()
        return rates(len(self.ids), between - start, self.new_tokens - 1, end - between)


KINDS = {"ours": Ours, "hf": HuggingFace, "llama.cpp": LlamaCpp}


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("contenders", nargs="+", type=contender, metavar="NAME=KIND:MODEL",
                        help=f"KIND: {', '.join(KINDS)}; the first is the one that ratios refer to")
    parser.add_argument("--qat-generate", type=Path, default="build/release/bin/qat_generate")
    parser.add_argument("--text", type=Path, required=True, help="its beginning is the prompt")
    parser.add_argument("--characters", type=int, default=1100, help="of the prompt")
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="bfloat16")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, required=True, help="report")
    arguments = parser.parse_args()
    arguments.prompt = arguments.text.read_text(encoding="utf-8")[:arguments.characters]
    return arguments


def contender(text):
    name, _, what = text.partition("=")
    kind, _, model = what.partition(":")
    if kind not in KINDS or not model:
        raise argparse.ArgumentTypeError(
            f"{text} is not NAME=KIND:MODEL with KIND one of {', '.join(KINDS)}")
    return name, kind, model


def make_contenders(arguments, report):
    contenders = {}
    for name, kind, model in arguments.contenders:
        try:
            contenders[name] = KINDS[kind](arguments, model)
        except Skipped as reason:
            report["skipped"][name] = str(reason)
            print(f"{name}: skipped: {reason}")
    return contenders


def summary(name, samples, reference):
    row = {"name": name, "samples": len(samples)} | samples[0]
    for rate in ("prefill_tokens_per_second", "decode_tokens_per_second"):
        row[rate] = median(sample[rate] for sample in samples)
        row[f"{rate}_ratio"] = median(own[rate] / other[rate]
                                      for own, other in zip(samples, reference))
    print(f"{name:20} prefill {row['prefill_tokens_per_second']:8.1f} tokens/s"
          f" ({row['prefill_tokens_per_second_ratio']:5.2f})"
          f"   decode {row['decode_tokens_per_second']:7.1f} tokens/s"
          f" ({row['decode_tokens_per_second_ratio']:5.2f})", flush=True)
    return row


def main():
    arguments = parse_arguments()
    (torch,) = require("torch")
    torch.set_num_threads(arguments.threads)
    report = {"program": "generation_peers.py", "machine": describe_machine(torch, "cpu"),
              "dtype": arguments.dtype, "skipped": {}, "rows": []}
    contenders = make_contenders(arguments, report)
    samples = {name: [] for name in contenders}
    for _ in range(arguments.rounds):
        for name, peer in contenders.items():
            samples[name].append(peer.sample())
    for name, own in samples.items():
        report["rows"].append(summary(name, own, next(iter(samples.values()))))
    write_report(arguments.json, report)


if __name__ == "__main__":
    main()
