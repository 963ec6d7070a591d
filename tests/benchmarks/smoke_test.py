"""The benchmark programs run and their reports have their fields. No time is looked at.

NIBBLE_BIN is the folder of the programs; one test case a program, chosen by name.
"""

import json
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
MODEL = HERE.parent / "data" / "tiny_models" / "llama_tied"
ROW = {"name", "shape", "group_size", "dtype", "median_ms", "samples"}


class SmokeTestCase(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory(prefix="nibble.")
        self.addCleanup(temporary.cleanup)
        self.folder = Path(temporary.name)

    def run_command(self, *command):
        return subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300)

    def report(self, *command):
        """Runs a program that writes a report; its JSON."""
        path = self.folder / "report.json"
        done = self.run_command(*command, "--json", path)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(path.read_text())

    def check_rows(self, report, count, *fields):
        self.assertEqual(len(report["rows"]), count)
        for row in report["rows"]:
            self.assertLessEqual(ROW | set(fields), row.keys())
            self.assertGreater(row["median_ms"], 0)

    def write_report(self, name, **times):
        """A report with a row for each name; a time is milliseconds or (milliseconds, ratio)."""
        rows = []
        for row_name, time in times.items():
            row = {"name": row_name, "shape": "2x2", "group_size": 2, "dtype": "float32"}
            if isinstance(time, tuple):
                row |= {"baseline": "other", "ratio": time[1]}
                time = time[0]
            rows.append(row | {"median_ms": time})
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({"rows": rows}))
        return path


class BenchFakeQuant(SmokeTestCase):
    def program(self, *arguments):
        return self.report(Path(os.environ["NIBBLE_BIN"]) / "bench_fake_quant", "--threads", 2,
                           "--samples", 2, "--rotate-mib", 1, "--copy-mib", 1, *arguments)

    def test_rows(self):
        report = self.program("--weight", "24x96", "--activation", "7x40", "--group-size", 32,
                              "--group-size", 64)
        # Forward and backward of two schemes in float32, bfloat16 and mixed, and of 8da4w in
        # bfloat16 with float scales. 64 does not divide 96. Activations: two dtypes.
        self.check_rows(report, 2 * 7 + 2 * 2, "bytes", "bytes_per_second", "copy_rate",
                        "fraction_of_copy_rate")
        sizes = {(row["name"], row["dtype"]): row["bytes"] for row in report["rows"]}
        values = 24 * 96
        self.assertEqual(sizes["weight 8da4w forward", "float32->bfloat16"],
                         values * (4 + 2) + values // 8 + values // 32 * 2)
        self.assertEqual(sizes["weight 4w forward", "bfloat16"],
                         values * (2 + 2) + values // 8 + 2 * (values // 32 * 2))
        self.assertEqual(sizes["activation 8da4w backward", "float32"],
                         7 * 40 * (4 + 4) + 7 * 5 + 7 * 4)

    def test_refuses_a_shape(self):
        done = self.run_command(Path(os.environ["NIBBLE_BIN"]) / "bench_fake_quant", "--weight",
                                "24by96", "--json", self.folder / "report.json")
        self.assertEqual(done.returncode, 1)
        self.assertIn("24by96", done.stderr)


TINY_TOKENIZER = {
    "version": "1.0", "added_tokens": [],
    "pre_tokenizer": {"type": "Whitespace"}, "normalizer": None, "post_processor": None,
    "decoder": None, "truncation": None, "padding": None,
    "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
              "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False,
              "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": [["a", "b"]]}}
TOKENIZER_FIELDS = ("documents", "bytes", "tokens", "ids_crc32", "megabytes_per_second", "threads")


class BenchTokenizer(SmokeTestCase):
    """Ours and, where it is there, Hugging Face's do the same work."""

    def arguments(self):
        (self.folder / "tokenizer.json").write_text(json.dumps(TINY_TOKENIZER))
        plain, rows = self.folder / "plain.txt", self.folder / "rows.jsonl"
        plain.write_text("ab a\nb\n\nab\xe9 ab", encoding="utf-8")
        rows.write_text(json.dumps({"q": "ab", "n": 1, "l": ["b", {"x": "a\xe9"}]}) + "\n{}\n"
                        + json.dumps(["ab ab"]))
        return ("--tokenizer", self.folder, "--text", plain, "--text", rows, "--samples", 1,
                "--warmup", 0, "--document-bytes", 6, "--threads", 2)

    def test_rows(self):
        report = self.report(Path(os.environ["NIBBLE_BIN"]) / "bench_tokenizer", *self.arguments())
        self.check_rows(report, 2 * 5, *TOKENIZER_FIELDS)
        rows = {(row["name"].split()[0], row["shape"]): row for row in report["rows"]}
        self.assertEqual((rows["decode", "plain"]["documents"], rows["decode", "plain"]["tokens"]),
                         (2, 5))
        self.assertEqual((rows["decode", "rows"]["documents"], rows["decode", "rows"]["bytes"],
                          rows["decode", "rows"]["tokens"]), (2, 8 + 5, 5))
        peer = self.report(sys.executable, HERE / "tokenizer_peer.py", *self.arguments())
        if not peer.get("skipped"):
            self.check_rows(peer, 2 * 5, *TOKENIZER_FIELDS)
            for row in peer["rows"]:
                own = rows[row["name"].split()[0], row["shape"]]
                for field in ("documents", "bytes", "tokens", "ids_crc32"):
                    self.assertEqual(row[field], own[field], row["name"])


class BenchLinear(SmokeTestCase):
    def test_rows(self):
        report = self.report(Path(os.environ["NIBBLE_BIN"]) / "bench_linear", "--tokens", 4,
                             "--shape", "8x16", "--group-size", 8, "--samples", 2, "--warmup", 0)
        self.check_rows(report, 2 * 3)
        self.assertEqual([row["name"] for row in report["rows"] if "ratio" in row],
                         ["linear 8da4w", "linear 4w"] * 2)


class BenchQuantizedLinear(SmokeTestCase):
    def test_rows(self):
        report = self.report(Path(os.environ["NIBBLE_BIN"]) / "bench_quantized_linear",
                             "--tokens", 1, "--tokens", 4, "--shape", "8x16", "--group-size", 8,
                             "--samples", 2, "--warmup", 0)
        self.check_rows(report, 2 * 3, "weight_bytes")
        self.assertEqual([row["name"] for row in report["rows"] if "ratio" in row],
                         ["quantized linear 8da4w", "quantized linear 4w"] * 2)


class BenchDecode(SmokeTestCase):
    def test_schemes(self):
        report = self.report(Path(os.environ["NIBBLE_BIN"]) / "bench_decode", "--model", MODEL,
                             "--prompt-tokens", 4, "--new-tokens", 4, "--group-size", 8,
                             "--samples", 1)
        self.check_rows(report, 2, "decode_tokens_per_second")


class BenchTrainingStep(SmokeTestCase):
    def program(self, *arguments):
        return self.report(Path(os.environ["NIBBLE_BIN"]) / "bench_training_step", "--model", MODEL,
                           "--tokens", 8, "--group-size", 8, "--steps", 2, "--warmup", 1,
                           *arguments)

    def test_one_scheme(self):
        report = self.program("--scheme", "4w", "--dtype", "bfloat16", "--rows", 2)
        self.check_rows(report, 1, "tokens_per_second", "peak_memory_bytes")
        self.assertEqual(report["rows"][0]["shape"], "2x8")

    def test_compare(self):
        report = self.program("--scheme", "8da4w", "--compare")
        self.check_rows(report, 2, "tokens_per_second", "peak_memory_bytes")
        self.assertEqual([row["name"] for row in report["rows"]],
                         ["training step none", "training step 8da4w"])
        self.assertEqual(report["rows"][1]["baseline"], "training step none")

    def test_random_weights(self):
        report = self.program("--random-weights")
        self.check_rows(report, 1)


class Peers(SmokeTestCase):
    """Measures where the packages are there, says why not elsewhere."""

    def peer(self, *arguments):
        return self.report(sys.executable, HERE / "peers.py", *arguments)

    def check(self, report, count, *fields):
        if report.get("skipped"):
            self.assertEqual(report["rows"], [])
        else:
            self.check_rows(report, count, *fields)

    def test_fake_quant(self):
        row = {"shape": "4x64", "group_size": 32, "dtype": "float32->bfloat16"}
        rows = [row | {"name": "weight 8da4w forward"}, row | {"name": "weight 4w forward"},
                row | {"name": "activation 8da4w backward", "dtype": "float32"}]
        of = self.folder / "of.json"
        of.write_text(json.dumps({"rotated_bytes": 4096, "rows": rows}))
        self.check(self.peer("fake-quant", "--rows-of", of, "--samples", 1, "--calls", 1), 3)

    def test_training_step(self):
        report = self.peer("training-step", "--model", MODEL, "--tokens", 8, "--scheme", "none",
                           "8da4w", "--group-size", 8, "--steps", 1, "--warmup", 0)
        self.check(report, 2, "tokens_per_second", "peak_memory_bytes")


    def test_generation_names_the_kinds(self):
        done = self.run_command(sys.executable, HERE / "generation_peers.py", "a=theirs:model",
                                "--text", MODEL / "config.json", "--json", self.folder / "a.json")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("KIND one of ours, hf, llama.cpp", done.stderr)


class Compare(SmokeTestCase):
    def compare(self, *arguments):
        return self.run_command(sys.executable, HERE / "compare.py", *arguments)

    def test_requirements(self):
        a = self.write_report("a.json", fast=10.0, slow=3.0, other=1.0)
        b = self.write_report("b.json", fast=1.0, slow=1.0)
        done = self.compare(a, b, "--require", "fast*=10")
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertIn("fast 2x2 g2 float32", done.stdout)
        self.assertNotIn("other", done.stdout)
        self.assertEqual(self.compare(a, b, "--require", "*=10").returncode, 1)
        self.assertEqual(self.compare(a, b, "--require", "absent*=1").returncode, 1)

    def test_same(self):
        a, b = self.write_report("a.json", row=1.0), self.write_report("b.json", row=2.0)
        self.assertEqual(self.compare(a, b, "--same", "dtype").returncode, 0)
        self.assertEqual(self.compare(a, b, "--same", "median_ms").returncode, 1)
        self.assertEqual(self.compare(a, b, "--same", "absent").returncode, 1)

    def test_limits(self):
        a = self.write_report("a.json", none=1.0)
        b = self.write_report("b.json", none=1.0, step=(1.2, 1.15))
        self.assertEqual(self.compare(a, b, "--limit", "step *=1.2").returncode, 0)
        self.assertEqual(self.compare(a, b, "--limit", "step *=1.1").returncode, 1)

    def test_medians_of_rounds(self):
        a = self.write_report("a.json", row=6.0)
        for number, time in enumerate((1.0, 9.0, 2.0)):
            self.write_report(f"rounds/{number}.json", row=time)
        rounds = self.folder / "rounds"
        self.assertEqual(self.compare(a, rounds, "--require", "row*=3").returncode, 0)
        self.assertEqual(self.compare(a, rounds, "--require", "row*=3.1").returncode, 1)


if __name__ == "__main__":
    unittest.main()
