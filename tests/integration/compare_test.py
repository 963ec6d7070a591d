"""qat_eval --compare on trained runs, a converted model and post-training quantization."""

import json
import math
import struct
import unittest

from program_test_case import ProgramTestCase, read_safetensors

TEXT = "The quick brown fox jumps over the lazy dog, and then it sleeps for a while."
QUESTIONS = [{"query": "A man sits on a roof", "endings": ["he eats", "is up", "x"], "label": 0},
             {"query": "Then", "endings": ["it", "goes on"], "label": "1"}]


def log_softmax(row):
    top = max(row)
    norm = top + math.log(sum(math.exp(value - top) for value in row))
    return [value - norm for value in row]


class CompareTest(ProgramTestCase):
    def setUp(self):
        super().setUp()
        self.text = self.folder / "text.txt"
        self.text.write_text(TEXT)
        self.questions = self.folder / "hellaswag.jsonl"
        self.questions.write_text("".join(json.dumps(row) + "\n" for row in QUESTIONS))

    def compare(self, *arguments):
        return self.run_program("qat_eval", "--compare", *arguments)

    def report(self, *arguments):
        out = self.folder / "comparison.json"
        done = self.compare(*arguments, "--json", out)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout, json.loads(out.read_text())

    def logits(self, model, *arguments):
        """Of every token of TEXT but the last: a token is a byte."""
        out = self.folder / "logits.safetensors"
        ids = ",".join(str(byte) for byte in TEXT.encode()[:-1])
        done = self.run_program("qat_eval", "--model", model, "--logits", ids, "--out", out,
                                *arguments)
        self.assertEqual(done.returncode, 0, done.stderr)
        _, (rows, columns), content = read_safetensors(out)["logits"]
        values = struct.unpack(f"<{rows * columns}f", content)
        return [log_softmax(values[row * columns:(row + 1) * columns]) for row in range(rows)]

    def test_a_recovery_report(self):
        self.train("fp", "--qat.enabled=false")
        self.train("qat", "--convert.enabled")
        fp, qat = self.folder / "fp", self.folder / "qat"
        page = self.folder / "report.html"
        text, found = self.report(
            "ptq=8da4w:32:float32", f"qat={qat}", f"fp={fp}", f"int4={qat / 'quantized'}",
            "--perplexity", self.text, "--hellaswag", self.questions, "--rows",
            self.folder / "rows.jsonl", "--html", page)
        reference, ptq, trained, converted = found["models"]
        self.assertEqual([model["name"] for model in found["models"]],
                         ["fp", "ptq", "qat", "int4"])

        # The training checkpoint is quantized as it was trained and as convert wrote it.
        for key in ("kl", "top_token_agreement", "perplexity", "memory_bytes", "rows"):
            self.assertEqual(trained[key], converted[key], key)
        self.assertIsNone(trained["disk_bytes"])
        self.assertEqual(converted["disk_bytes"],
                         (qat / "quantized" / "model.safetensors").stat().st_size)
        self.assertLess(converted["disk_bytes"], reference["disk_bytes"])
        self.assertLess(converted["memory_bytes"], reference["memory_bytes"])

        plain = self.logits(fp / "LATEST" / "model")
        for model, path, arguments in (
                (converted, qat / "quantized", ()),
                (ptq, fp / "LATEST" / "model", ("--quantize", "8da4w", "--group-size", 32))):
            other = self.logits(path, *arguments)
            kl = sum(math.exp(p) * (p - q) for row, found in zip(plain, other)
                     for p, q in zip(row, found)) / len(plain)
            self.assertAlmostEqual(model["kl"], kl, delta=1e-4 * abs(kl) + 1e-7)
            agreeing = sum(row.index(max(row)) == found.index(max(found))
                           for row, found in zip(plain, other))
            self.assertAlmostEqual(model["top_token_agreement"], agreeing / len(plain))
            self.assertGreater(model["kl"], 0)
        self.assertEqual(reference["kl"], 0)
        self.assertEqual(reference["perplexity"]["scored"], len(TEXT) - 1)

        self.assertEqual(trained["hellaswag"]["promised_lost"]["most"], 0.01)
        self.assertEqual(ptq["hellaswag"]["promised_lost"], {"least": 0.01, "most": 0.03})
        for model in found["models"]:
            self.assertGreater(model["decode_tokens_per_second"], 0)
            self.assertGreater(model["prefill_tokens_per_second"], 0)
        checks = {check["what"]: check for check in found["comparable"]}
        self.assertEqual(checks["base"]["values"],
                         [str((self.folder / "model").resolve())] * 3 + [None])
        self.assertEqual(checks["steps"]["values"], ["6", "6", "6", None])
        self.assertEqual(len(set(checks["data hash"]["values"][:3])), 1)
        self.assertEqual(checks["dtype"]["values"][0], "float32")
        self.assertTrue(checks["token ids"]["recorded_everywhere"])
        self.assertIn("KL(fp || model)", text)
        self.assertIn("not recorded", text)
        self.assertIn("KL(fp || model)", page.read_text())

    def test_models_that_are_not_comparable(self):
        self.train("fp", "--qat.enabled=false", "--step_scheduler.max_steps", 5)
        self.train("qat", "--dataset.split", "train[:16]", "--step_scheduler.max_steps", 5)
        models = (f"fp={self.folder / 'fp'}", f"qat={self.folder / 'qat'}",
                  "--perplexity", self.text)
        self.assert_fails(self.compare(*models), "not comparable", "data hash", "fp ", "qat ")
        text, found = self.report(*models, "--allow-different")
        self.assertEqual([check["what"] for check in found["comparable"] if check["differs"]],
                         ["data hash"])
        self.assertIn(" no\n", text)

    def test_errors(self):
        model = f"fp={self.folder / 'model'}"
        measure = ("--perplexity", self.text)
        self.assert_fails(self.compare(model, *measure), "two models")
        self.assert_fails(self.compare(model, model, *measure), "two models named fp")
        self.assert_fails(self.compare(model, "qat=", *measure), "NAME=MODEL")
        self.assert_fails(self.compare(model, "ptq=8da4w:big", *measure), '"big"', "float32")
        self.assert_fails(self.compare("ptq=8da4w", f"qat={self.folder / 'model'}", *measure),
                          "cannot be it")
        self.assert_fails(self.compare(model, "ptq=8da4w"), "nothing to measure")
        self.assert_fails(self.compare(model, "qat=absent", *measure), "absent")
        self.assert_fails(self.compare(model, "ptq=8da4w", *measure, "--html", "absent/x.html"),
                          "--html")


if __name__ == "__main__":
    unittest.main()
