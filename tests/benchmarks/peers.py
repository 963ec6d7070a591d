#!/usr/bin/env python3
"""Times what others offer for the same work, as rows of the same form as our benchmark programs.

fake-quant      TorchAO's fake quantizers on the matrices of a bench_fake_quant report, eager or
                compiled; with --nibble-ops our operators too, in turns with TorchAO's
training-step   a Hugging Face model with TorchAO's QAT quantizers: forward, backward, clipping,
                AdamW

Where a package is missing the report holds the reason under "skipped" and no rows.
"""

import argparse
import copy
import ctypes
import importlib
import json
import os
import time
from pathlib import Path
from statistics import median

NONE = "none"


class Skipped(Exception):
    """Why a peer cannot be measured here."""


def require(*names):
    """The modules of these names, or Skipped."""
    modules = []
    for name in names:
        try:
            modules.append(importlib.import_module(name))
        except ImportError as error:
            raise Skipped(f"cannot import {name}: {error}") from error
    return modules


# --- measuring -----------------------------------------------------------------------------------


def interleave(contenders, warmup, rounds):
    """Takes turns; a contender returns the milliseconds of one sample. [contender][round]."""
    samples = [[] for _ in contenders]
    for number in range(-warmup, rounds):
        for own, contender in zip(samples, contenders):
            milliseconds = contender()
            if number >= 0:
                own.append(milliseconds)
    return samples


def timed(torch, device, work):
    """Milliseconds until everything that `work` queued is done."""
    start = time.perf_counter()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - start) * 1e3


def median_ratio(times, baseline):
    return median(own / other for own, other in zip(times, baseline))


def process_memory(field):
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    return 0


def memory_use(torch, device, work):
    """(in use before, high water) as torch_device.h defines them; None where it cannot be reset."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        torch.cuda.synchronize()
        return before, torch.cuda.max_memory_allocated()
    ctypes.CDLL(None).malloc_trim(0)
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return None
    before = process_memory("VmRSS")
    work()
    return before, process_memory("VmHWM")


def describe_machine(torch, device):
    if device == "cuda":
        return torch.cuda.get_device_name()
    names = [line.split(": ", 1)[1] for line in Path("/proc/cpuinfo").read_text().splitlines()
             if line.startswith("model name")]
    return f"{(names or ['unknown processor'])[0]}, {torch.get_num_threads()} threads"


# --- fake quantization ---------------------------------------------------------------------------


def torchao_fake_quantizer(name, group_size):
    """The module that TorchAO's QAT Linears apply: 'weight 8da4w', the same with 'float scales',
    'weight 4w' or 'activation 8da4w'."""
    torch, linear, fake_quantizer = require("torch", "torchao.quantization.qat.linear",
                                            "torchao.quantization.qat.fake_quantizer")
    configs = {
        "weight 8da4w": lambda: linear._get_8da4w_weight_config(group_size, torch.bfloat16),
        "weight 8da4w float scales":
            lambda: linear._get_8da4w_weight_config(group_size, torch.float32),
        "weight 4w": lambda: linear._get_4w_weight_config(group_size, torch.bfloat16),
        "activation 8da4w": lambda: linear._get_8da4w_activation_config(torch.float32),
    }
    return fake_quantizer.FakeQuantizerBase.from_config(configs[name]())


def nibble_operator(torch, name, group_size, value_dtype):
    if name == "activation 8da4w":
        return lambda x: torch.ops.nibble.fake_quantize_activation(x, value_dtype)
    symmetric = name != "weight 4w"
    scale_dtype = torch.float32 if name.endswith("float scales") else torch.bfloat16
    return lambda weight: torch.ops.nibble.fake_quantize_weight(weight, group_size, symmetric,
                                                                scale_dtype, value_dtype)


class FakeQuantBench:
    """Forward and backward of one matrix, over inputs that rotate past the caches."""

    def __init__(self, torch, row, arguments, rotated_bytes):
        self.torch, self.device, self.calls = torch, arguments.device, arguments.calls
        dtype, _, output_dtype = row["dtype"].partition("->")
        self.dtype = getattr(torch, dtype)
        self.output_dtype = getattr(torch, output_dtype or dtype)
        self.shape = tuple(map(int, row["shape"].split("x")))
        elements = self.shape[0] * self.shape[1]
        nbytes = elements * (self.dtype.itemsize + self.output_dtype.itemsize)
        generator = torch.Generator().manual_seed(7)
        values = torch.randn(self.shape, generator=generator).to(self.device, self.dtype)
        count = max(2, rotated_bytes // nbytes)
        self.inputs = [values.clone().requires_grad_() for _ in range(count)]
        self.gradient = values.to(self.output_dtype)

    def convert(self, operator):
        if self.output_dtype == self.dtype:
            return operator
        return lambda value: operator(value).to(self.output_dtype)

    def forward(self, operator):
        """A contender that quantizes the next inputs."""
        position = 0

        def work():
            nonlocal position
            for _ in range(self.calls):
                operator(self.inputs[position % len(self.inputs)])
                position += 1

        return lambda: timed(self.torch, self.device, work) / self.calls

    def backward(self, operator):
        """A contender that goes back through graphs that were made before."""
        kept = min(len(self.inputs), self.graphs_that_fit())
        pairs = [(operator(value), value) for value in self.inputs[:kept]]
        position = 0

        def work():
            nonlocal position
            for _ in range(self.calls):
                output, value = pairs[position % len(pairs)]
                self.torch.autograd.grad(output, value, self.gradient, retain_graph=True)
                position += 1

        return lambda: timed(self.torch, self.device, work) / self.calls

    def graphs_that_fit(self):
        """Eager TorchAO keeps about ten copies of an input for the backward."""
        nbytes = self.inputs[0].nbytes * 10
        free = (self.torch.cuda.mem_get_info()[0] if self.device == "cuda"
                else os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
        return max(2, int(free * 0.5) // nbytes)


def fake_quant(arguments, header):
    torch, torchao = require("torch", "torchao")
    header["torchao"] = torchao.__version__
    report = json.loads(arguments.rows_of.read_text(encoding="utf-8"))
    if arguments.nibble_ops:
        torch.ops.load_library(str(arguments.nibble_ops))
    if arguments.compile:
        # Backward passes are repeated on one graph.
        importlib.import_module("torch._functorch.config").donated_buffer = False
    stack = "torchao " + ("compiled" if arguments.compile else "eager")
    rows, nibble_rows = [], []
    for row in report["rows"]:
        name, _, direction = row["name"].rpartition(" ")
        bench = FakeQuantBench(torch, row, arguments, report["rotated_bytes"])
        peer = bench.convert(torchao_fake_quantizer(name, row["group_size"]))
        if arguments.compile:
            torch.compiler.reset()
            peer = torch.compile(peer)
        operators = [peer]
        if arguments.nibble_ops:
            operators.append(nibble_operator(torch, name, row["group_size"], bench.output_dtype))
        try:
            contenders = [getattr(bench, direction)(operator) for operator in operators]
            samples = interleave(contenders, arguments.warmup, arguments.samples)
        except Exception as error:  # a compiler that gives up on one shape leaves the others
            reason = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
            what = f"{row['name']} {row['shape']} {row['dtype']}"
            header.setdefault("skipped_rows", []).append({"row": what, "reason": reason})
            print(f"{what}: skipped: {reason}")
            continue
        rows.append(matrix_row(row, samples[0], stack))
        if arguments.nibble_ops:
            own = matrix_row(row, samples[1], "nibble operator")
            nibble_rows.append(own | {"baseline": stack,
                                      "ratio": median_ratio(samples[1], samples[0])})
        print_rows([rows[-1], *nibble_rows[-1:]])
    if arguments.nibble_ops:
        write_report(arguments.nibble_json, header | {"rows": nibble_rows})
    return rows


def matrix_row(row, samples, stack):
    identity = {field: row[field] for field in ("name", "shape", "group_size", "dtype")}
    return {**identity, "median_ms": median(samples), "samples": len(samples), "stack": stack}


# --- training step -------------------------------------------------------------------------------


def load_model(arguments, dtype):
    (transformers,) = require("transformers")
    if arguments.random_weights:
        config = transformers.AutoConfig.from_pretrained(arguments.model)
        model = transformers.AutoModelForCausalLM.from_config(config, dtype=dtype)
    else:
        model = transformers.AutoModelForCausalLM.from_pretrained(arguments.model, dtype=dtype)
    return model.to(arguments.device).train()


def prepare(model, scheme, group_size, dtype):
    """TorchAO's QAT, lm_head in full precision."""
    torch, qat = require("torch", "torchao.quantization.qat")
    if scheme == "8da4w":
        quantizer = qat.Int8DynActInt4WeightQATQuantizer(
            groupsize=group_size, precision=dtype, scales_precision=torch.bfloat16)
    elif scheme == "4w":
        quantizer = qat.Int4WeightOnlyQATQuantizer(
            groupsize=group_size, inner_k_tiles=2, precision=dtype, scales_precision=torch.bfloat16)
    else:
        return
    model.model = quantizer.prepare(model.model)


class Training:
    """A model in training with its optimizer."""

    def __init__(self, torch, model, arguments):
        self.torch, self.model = torch, model
        try:
            self.optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)
            self.optimizer_name = "torch.optim.AdamW(fused=True)"
        except RuntimeError:
            self.optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)
            self.optimizer_name = "torch.optim.AdamW"
        generator = torch.Generator().manual_seed(7)
        self.ids = torch.randint(model.config.vocab_size, (arguments.rows, arguments.tokens),
                                 generator=generator).to(arguments.device)

    def step(self):
        self.optimizer.zero_grad()
        loss = self.model(input_ids=self.ids, labels=self.ids, use_cache=False).loss
        loss.backward()
        loss.item()
        self.torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()

    def state_bytes(self):
        states = [value for state in self.optimizer.state.values() for value in state.values()]
        return sum(tensor.nbytes for tensor in [*self.model.parameters(), *states])


def training_step(arguments, header):
    torch, transformers, torchao = require("torch", "transformers", "torchao")
    header |= {"torchao": torchao.__version__, "transformers": transformers.__version__,
               "model": str(arguments.model), "warmup": arguments.warmup}
    dtype = getattr(torch, arguments.dtype)
    full_precision = load_model(arguments, dtype)
    header["attention"] = full_precision.config._attn_implementation
    trainings = []
    for scheme in arguments.scheme:
        model = copy.deepcopy(full_precision)
        prepare(model, scheme, arguments.group_size, dtype)
        trainings.append(Training(torch, model, arguments))
    del full_precision
    header["optimizer"] = trainings[0].optimizer_name
    contenders = [lambda training=training: timed(torch, arguments.device, training.step)
                  for training in trainings]
    samples = interleave(contenders, arguments.warmup, arguments.steps)
    rows = [step_row(torch, arguments, *result)
            for result in zip(arguments.scheme, samples, trainings)]
    if NONE in arguments.scheme:
        baseline = arguments.scheme.index(NONE)
        for row, own in zip(rows, samples):
            if row["group_size"]:
                row |= {"baseline": rows[baseline]["name"],
                        "ratio": median_ratio(own, samples[baseline])}
    print_rows(rows)
    return rows


def step_row(torch, arguments, scheme, samples, training):
    milliseconds = median(samples)
    row = {"name": f"training step {scheme}", "shape": f"{arguments.rows}x{arguments.tokens}",
           "group_size": 0 if scheme == NONE else arguments.group_size, "dtype": arguments.dtype,
           "median_ms": milliseconds, "samples": len(samples),
           "tokens_per_second": arguments.rows * arguments.tokens / milliseconds * 1e3,
           "peak_memory_bytes": None, "process_peak_memory_bytes": None}
    use = memory_use(torch, arguments.device, training.step)
    if use is not None:
        before, peak = use
        row |= {"peak_memory_bytes": training.state_bytes() + peak - before,
                "process_peak_memory_bytes": peak}
    return row


# --- command line --------------------------------------------------------------------------------


def print_rows(rows):
    for row in rows:
        ratio = f"  {row['ratio']:.3f} of {row['baseline']}" if "ratio" in row else ""
        print(f"{row['name']:36}{row['shape']:12} g{row['group_size']:<5} {row['dtype']:18} "
              f"{row['median_ms']:10.4f} ms{ratio}", flush=True)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    common.add_argument("--threads", type=int, help="of the CPU, default: torch's")
    common.add_argument("--json", type=Path, required=True, help="report")
    peers = parser.add_subparsers(dest="peer", required=True)

    kernels = peers.add_parser("fake-quant", parents=[common])
    kernels.set_defaults(measure=fake_quant)
    kernels.add_argument("--rows-of", type=Path, required=True,
                         help="a report of bench_fake_quant: the matrices to measure")
    kernels.add_argument("--compile", action="store_true", help="under torch.compile")
    kernels.add_argument("--nibble-ops", type=Path,
                         help="libnibble_ops.so: measure our operators in turns with TorchAO's")
    kernels.add_argument("--nibble-json", type=Path, help="report of --nibble-ops")
    kernels.add_argument("--samples", type=int, default=15)
    kernels.add_argument("--calls", type=int, default=8, help="in a sample")
    kernels.add_argument("--warmup", type=int, default=2, help="samples before them")

    step = peers.add_parser("training-step", parents=[common])
    step.set_defaults(measure=training_step)
    step.add_argument("--model", type=Path, required=True, help="Hugging Face directory")
    step.add_argument("--random-weights", action="store_true",
                      help="--model is a config.json, or a directory with one")
    step.add_argument("--scheme", nargs="+", choices=[NONE, "8da4w", "4w"], default=[NONE])
    step.add_argument("--group-size", type=int, default=32)
    step.add_argument("--rows", type=int, default=1)
    step.add_argument("--tokens", type=int, default=256)
    step.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    step.add_argument("--steps", type=int, default=10)
    step.add_argument("--warmup", type=int, default=2)
    arguments = parser.parse_args()
    if arguments.peer == "fake-quant" and bool(arguments.nibble_ops) != bool(arguments.nibble_json):
        parser.error("--nibble-ops and --nibble-json go together")
    return arguments


def write_report(path, report):
    temporary = path.with_name(f"{path.name}.tmp.{os.getpid()}")
    temporary.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    os.replace(temporary, path)


def main():
    arguments = parse_arguments()
    report = {"program": f"peers.py {arguments.peer}", "device": arguments.device, "rows": []}
    try:
        (torch,) = require("torch")
        if arguments.device == "cuda" and not torch.cuda.is_available():
            raise Skipped("torch finds no CUDA device here")
        if arguments.threads:
            torch.set_num_threads(arguments.threads)
        report |= {"machine": describe_machine(torch, arguments.device),
                   "torch": torch.__version__}
        report["rows"] = arguments.measure(arguments, report)
    except Skipped as reason:
        report["skipped"] = str(reason)
        print(f"{arguments.peer}: skipped: {reason}")
    write_report(arguments.json, report)


if __name__ == "__main__":
    main()
