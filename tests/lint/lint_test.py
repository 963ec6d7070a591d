"""The linter finds what is planted, and only that."""

import tempfile
import unittest
from pathlib import Path

import lint

CLEAN = {
    "include/nibble/core/error.h": "#pragma once\n#include <string>\n",
    "include/nibble/numerics/grids.h": "#pragma once\n#include <nibble/core/error.h>\n",
    "src/core/log.cpp": "#include <nibble/core/error.h>\n#include <spdlog/spdlog.h>\n",
    "src/core/error.cpp": "#include <nibble/core/error.h>\n",
    "src/apps/tool.cpp": "#include <nibble/train/recipe.h>\nint main() { std::cout << 1; }\n",
    "kernels/cpu/fake_quant.cpp": '#include "grid.h"\nvoid f() { snprintf(b, 2, "abort()"); }\n',
    "kernels/cpu/grid.h": "// calls exit(1)\nstatic_assert(sizeof(int) == 4);\n",
    "docs/index.md": "[error](../include/nibble/core/error.h#top) [web](https://example.org)\n",
    "README.md": "[docs](docs/index.md)\n",
}


class LintTest(unittest.TestCase):
    def violations(self, planted):
        with tempfile.TemporaryDirectory() as folder:
            for name, text in {**CLEAN, **planted}.items():
                path = Path(folder, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
            return lint.violations(Path(folder))

    def assert_found(self, name, text, line, message):
        found = self.violations({name: text})
        self.assertEqual(len(found), 1, found)
        self.assertTrue(found[0].startswith(f"{name}:{line}: "), found)
        self.assertIn(message, found[0])

    def test_a_clean_tree_has_no_violation(self):
        self.assertEqual(self.violations({}), [])

    def test_layer_edges(self):
        for name, include in [
            ("include/nibble/core/a.h", "<nibble/numerics/grids.h>"),
            ("src/models/a.cpp", "<nibble/quantization/quantizer.h>"),
            ("src/quantization/a.cpp", "<nibble/models/config.h>"),
            ("src/data/a.cpp", "<nibble/models/config.h>"),
            ("kernels/cpu/a.cpp", "<nibble/ops/fake_quant.h>"),
            ("src/io/a.cpp", '"../text/b.h"'),
            ("src/nn/a.cpp", "<nibble/nibble.h>"),
        ]:
            with self.subTest(name):
                planted = {name: f"#pragma once\n#include {include}\n", "src/text/b.h": ""}
                found = self.violations(planted)
                self.assertEqual(len(found), 1, found)
                self.assertIn(f"{name}:2: ", found[0])
                self.assertIn("must not include", found[0])

    def test_an_unknown_layer(self):
        self.assert_found("src/misc/a.cpp", "", 1, "is no layer")

    def test_forbidden_includes(self):
        for name, include, message in [
            ("include/nibble/nn/a.h", "torch/torch.h", "18 s"),
            ("src/text/a.cpp", "ATen/core/Tensor.h", "torch-free"),
            ("kernels/cuda/a.cu", "c10/util/Half.h", "torch-free"),
            ("include/nibble/ops/a.h", "cuda_runtime.h", "CUDA header"),
            ("src/io/a.cpp", "yaml-cpp/yaml.h", "src/train only"),
            ("src/io/a.cpp", "spdlog/spdlog.h", "log.cpp only"),
        ]:
            with self.subTest(name):
                self.assert_found(name, f"#include <{include}>\n", 1, message)

    def test_forbidden_calls(self):
        for call in ["std::abort()", "exit(1)", "assert(x)", "std::cout << 1", "printf(x)"]:
            with self.subTest(call):
                self.assert_found("src/io/a.cpp", f"/* two\nlines */ void f() {{ {call}; }}\n", 2,
                                  "in the library")

    def test_not_ascii(self):
        self.assert_found("tests/unit/a.cpp", "int x;\n// \u00e9\n", 2, "not ASCII")

    def test_machine_paths(self):
        self.assert_found("docs/a.md", "see /home/me/file\n", 1, "one machine")

    def test_a_source_with_another_stem_than_its_header(self):
        name = "src/numerics/rounding.cpp"
        self.assert_found(name, "#include <nibble/numerics/grids.h>\n", 1, "should be 'grids'")

    def test_documents(self):
        self.assert_found("docs/a.md", "text\n[x](absent.md)\n", 2, "leads nowhere")
        self.assert_found("README.md", "line\n" * 150, 150, "under 150")


if __name__ == "__main__":
    unittest.main()
