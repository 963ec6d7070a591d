"""qat_inspect on the plain and the converted tiny model."""

import json
import unittest

from program_test_case import ProgramTestCase, read_safetensors


def tensor_bytes(model):
    return sum(len(content) for _, _, content in
               read_safetensors(model / "model.safetensors").values())


class InspectTest(ProgramTestCase):
    def inspect(self, model, *arguments):
        out = self.folder / "inspection.json"
        done = self.run_program("qat_inspect", model, "--json", out, *arguments)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout, json.loads(out.read_text())

    def test_a_plain_model(self):
        text, found = self.inspect(self.folder / "model")
        self.assertEqual(found["architecture"], "LlamaForCausalLM")
        stored = sum(kind["bytes"] for kind in found["stored"])
        self.assertEqual(stored, tensor_bytes(self.folder / "model"))
        self.assertEqual([kind["type"] for kind in found["stored"]], ["F32"])
        self.assertEqual(found["parameters"] * 4, stored)
        self.assertEqual(found["tokenizer"]["problem"], "")
        self.assertEqual(found["chat_template"]["problem"], "")
        plans = {plan["group_size"]: plan for plan in found["plans"]}
        self.assertEqual(list(plans), [32, 64, 128, 256])
        for size in (32, 64):  # they divide every width
            self.assertEqual(plans[size]["quantized"], 14)
            self.assertLess(plans[size]["quantized_bytes"], plans[size]["bfloat16_bytes"])
            self.assertIn(f"group size {size}:", text)
        reasons = {linear["reason"] for linear in plans[256]["linears"]}
        self.assertIn("group size 256 does not divide in_features 64", reasons)
        self.assertIn("lm_head stays in full precision by default", reasons)
        self.assertIn("skipped: group size 256 does not divide in_features 64", text)

    def test_the_promised_size_is_what_convert_writes(self):
        self.train("run", "--convert.enabled")
        quantized = self.folder / "run" / "quantized"
        _, found = self.inspect(self.folder / "model", "--group-sizes", "32")
        plan, = found["plans"]
        # This model stays float32 where it is not quantized; the plan counts bfloat16.
        rest = found["parameters"] - sum(linear["in_features"] * linear["out_features"]
                                         for linear in plan["linears"] if linear["quantized"])
        config = json.loads((quantized / "config.json").read_text())
        scales = [content for name, (_, _, content) in
                  read_safetensors(quantized / "model.safetensors").items()
                  if name.endswith("weight_scale")]
        self.assertEqual(len(scales), plan["quantized"])
        wider_scales = sum(map(len, scales)) - sum(
            linear["out_features"] * linear["in_features"] // 32 * 2
            for linear in plan["linears"] if linear["quantized"])
        self.assertEqual(plan["quantized_bytes"] + 2 * rest + wider_scales,
                         tensor_bytes(quantized))
        text, found = self.inspect(quantized)
        self.assertEqual(found["quantized_as"], config["quantization_config"]["quant_method"])
        self.assertEqual(found["plans"], [])
        self.assertIn("quantized already: compressed-tensors", text)

    def test_a_part_that_is_missing_or_broken_is_named(self):
        model = self.folder / "model"
        (model / "tokenizer.json").unlink()
        (model / "chat_template.jinja").write_text("{% if %}")
        text, found = self.inspect(model)
        self.assertIn("tokenizer.json is not there", found["tokenizer"]["problem"])
        self.assertIn("line 1", found["chat_template"]["problem"])
        self.assertIn("tokenizer.json is not there", text)

    def test_errors(self):
        done = self.run_program("qat_inspect", "nobody/absent")
        self.assert_fails(done, "hf download nobody/absent")
        config = self.folder / "model" / "config.json"
        content = json.loads(config.read_text())
        content["architectures"] = ["MambaForCausalLM"]
        config.write_text(json.dumps(content))
        done = self.run_program("qat_inspect", self.folder / "model")
        self.assert_fails(done, "MambaForCausalLM", "supported: ")


if __name__ == "__main__":
    unittest.main()
