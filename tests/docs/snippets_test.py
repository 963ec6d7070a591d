"""A block that drifted from its example is found."""

import tempfile
import unittest
from pathlib import Path

import snippets

EXAMPLE = """\
int main() {
  int a = 1;

  if (a) {
    use(a);
  }
}
"""
BLOCK = "int a = 1;\n\nif (a) {\n  use(a);\n}\n"


class SnippetsTest(unittest.TestCase):
    def violations(self, document, name="README.md"):
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            for path, text in {"README.md": "", "main.cpp": EXAMPLE, name: document}.items():
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                (root / path).write_text(text, encoding="utf-8")
            return list(snippets.violations(root, [root / "main.cpp"]))

    def assert_found(self, document, place):
        found = self.violations(document, place.split(":")[0])
        self.assertEqual(len(found), 1, found)
        self.assertTrue(found[0].startswith(place + ": "), found)

    def test_a_block_of_the_example_at_another_indentation(self):
        self.assertEqual(self.violations(f"text\n```cpp\n{BLOCK}```\n"), [])
        self.assertEqual(self.violations(f"```c++\n{EXAMPLE}```\n"), [])

    def test_blocks_of_other_languages(self):
        self.assertEqual(self.violations("```\nfoo\n```\n```yaml\na: 1\n```\n"), [])

    def test_drift(self):
        for block in (BLOCK.replace("a = 1", "a = 2"), BLOCK.replace("\n\n", "\n"),
                      BLOCK.replace("  use", "use"), BLOCK + "more();\n"):
            with self.subTest(block):
                self.assert_found(f"one\n```cpp\n{block}```\n", "README.md:2")
        self.assert_found("```yaml\na: 1\n```\n```cpp\nb();\n```\n", "docs/more/page.md:4")
        self.assert_found("```cpp\n```\n", "README.md:1")


if __name__ == "__main__":
    unittest.main()
