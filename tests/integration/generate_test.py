"""qat_generate: one prompt, batches, chat."""

import json
import subprocess
import unittest

from program_test_case import ProgramTestCase

PROMPTS = ["Say kiwi", "Hi", "What is the longest of these three prompts?"]


class GenerateTest(ProgramTestCase):
    def generate(self, *arguments, stdin=None):
        done = subprocess.run(
            self.command("qat_generate", "--model", self.folder / "model", "--max-new-tokens", 12,
                         *arguments),
            capture_output=True, text=True, timeout=120, input=stdin)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done

    def single(self, prompt, *arguments):
        return json.loads(self.generate("--prompt", prompt, "--json", *arguments).stdout)

    def check_rates(self, found):
        for key in ("prefill_tokens_per_second", "decode_tokens_per_second", "seconds"):
            self.assertGreater(found[key], 0)
        self.assertAlmostEqual(found["prefill_tokens"] / found["prefill_seconds"],
                               found["prefill_tokens_per_second"])
        # 300 x 64 embedding, 2 layers of 2 x 64x64 + 2 x 64x32 + 3 x 64x128, 5 norms, float32.
        parameters = 300 * 64 + 2 * (2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 128) + 5 * 64
        self.assertEqual(found["memory"]["model_bytes"], 4 * parameters)
        self.assertGreater(found["memory"]["peak_rss_bytes"], found["memory"]["model_bytes"])

    def test_rates_and_memory(self):
        found = self.single("Say kiwi")
        self.check_rates(found)
        self.assertEqual(found["prefill_tokens"], found["prompt_tokens"])
        self.assertEqual(found["decode_tokens"], len(found["tokens"]) - 1)
        # 2 layers, keys and values, 2 heads of 16 float32.
        self.assertEqual(found["memory"]["kv_cache_bytes"],
                         (found["prompt_tokens"] + 11) * 2 * 2 * 2 * 16 * 4)
        text = self.generate("--prompt", "Say kiwi")
        self.assertEqual(text.stdout, found["text"] + "\n")
        self.assertIn("tokens/s", text.stderr)
        self.assertIn("KV cache", text.stderr)

    def test_a_batch_answers_each_prompt_as_if_alone(self):
        singles = [self.single(prompt, "--system", "Be brief") for prompt in PROMPTS]
        flags = [flag for prompt in PROMPTS for flag in ("--prompt", prompt)]
        lines = self.folder / "prompts.txt"
        lines.write_text("\n".join(PROMPTS) + "\n")
        rows = self.folder / "prompts.jsonl"
        rows.write_text(
            json.dumps({"prompt": PROMPTS[0]}) + "\n" + json.dumps({"prompt": PROMPTS[1]}) + "\n" +
            json.dumps({"messages": [{"role": "user", "content": PROMPTS[2]}]}) + "\n")
        for arguments in (flags, ("--prompts", lines), ("--prompts", rows, "--batch-size", 2)):
            found = json.loads(
                self.generate(*arguments, "--system", "Be brief", "--json").stdout)
            self.check_rates(found)
            self.assertEqual(len(found["answers"]), len(PROMPTS))
            for answer, single in zip(found["answers"], singles):
                for key in ("prompt_tokens", "tokens", "text", "finish_reason"):
                    self.assertEqual(answer[key], single[key])
        text = self.generate(*flags, "--system", "Be brief").stdout
        self.assertEqual(text, "".join(f"--- {i + 1}\n{single['text']}\n"
                                       for i, single in enumerate(singles)))

    def test_chat(self):
        messages = ["One", "", "Two", "/reset", "One", "/exit", "never answered"]
        done = self.generate("--chat", "--json", "--system", "Be brief",
                             stdin="\n".join(messages) + "\n")
        first, second, again = map(json.loads, done.stdout.splitlines())
        self.assertEqual(first["text"], self.single("One", "--system", "Be brief")["text"])
        self.assertEqual(first["prefill_tokens"], first["prompt_tokens"])
        self.assertGreater(second["prompt_tokens"], first["prompt_tokens"])
        # At least the first prompt is kept, but for a last token that merges with the answer.
        self.assertLessEqual(second["prefill_tokens"],
                             second["prompt_tokens"] - first["prompt_tokens"] + 1)
        self.assertEqual(again["text"], first["text"])
        self.assertEqual(again["prompt_tokens"], first["prompt_tokens"])
        # The end of the input ends it too, and text is streamed.
        text = self.generate("--chat", "--system", "Be brief", stdin="One")
        self.assertEqual(text.stdout, first["text"] + "\n")
        self.assertIn("tokens/s", text.stderr)

    def test_errors(self):
        run = lambda *arguments: subprocess.run(
            self.command("qat_generate", "--model", self.folder / "model", *arguments),
            capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL)
        self.assert_fails(run(), "--prompt", "--chat")
        empty = self.folder / "empty.txt"
        empty.write_text("\n")
        self.assert_fails(run("--prompts", empty), "empty.txt", "no prompt")
        rows = self.folder / "bad.jsonl"
        rows.write_text('{"prompt": 3}\n')
        self.assert_fails(run("--prompts", rows), "bad.jsonl:1", "prompt")
        self.assert_fails(run("--prompt", "x" * 300), "tokens", "255")
        for arguments in (("--chat", "--prompt", "a"), ("--raw", "--system", "b"),
                          ("--batch-size", "0")):
            self.assertGreater(run(*arguments).returncode, 0)


if __name__ == "__main__":
    unittest.main()
