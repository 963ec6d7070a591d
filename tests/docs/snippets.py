#!/usr/bin/env python3
"""The C++ of the documents is compiled: `snippets.py ROOT SOURCE...`.

Each ```cpp block of README.md and docs/ must stand, line by line and but for its indentation, in
one of the SOURCEs, which the build compiles and the tests run. A block that stands nowhere is
printed as FILE:LINE.
"""

import sys
import textwrap
from pathlib import Path

FENCE = "```"
LANGUAGES = ("cpp", "c++", "cxx", "cc")


def documents(root):
    return [root / "README.md", *sorted((root / "docs").rglob("*.md"))]


def blocks(text):
    """Yields (line number of the fence, lines) of each C++ block."""
    language, start, lines = None, 0, []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.lstrip().startswith(FENCE):
            lines.append(line)
        elif language is None:
            language, start, lines = line.strip()[len(FENCE):].strip().lower(), number, []
        else:
            if language in LANGUAGES:
                yield start, lines
            language = None


def normalized(lines):
    """Without common indentation, trailing blanks and outer empty lines."""
    text = textwrap.dedent("\n".join(line.rstrip() for line in lines))
    return text.strip("\n").splitlines()


def stands_in(block, source):
    """Whether the lines of `block` follow one another in `source`."""
    block, lines = normalized(block), source.splitlines()
    return any(normalized(lines[start:start + len(block)]) == block
               for start in range(len(lines) - len(block) + 1))


def violations(root, sources):
    texts = [source.read_text(encoding="utf-8") for source in sources]
    for document in documents(root):
        for number, block in blocks(document.read_text(encoding="utf-8")):
            if not normalized(block):
                yield f"{document.relative_to(root)}:{number}: the block is empty"
            elif not any(stands_in(block, text) for text in texts):
                yield (f"{document.relative_to(root)}:{number}: the block stands in no compiled "
                       "example")


def main():
    sources = [Path(source) for source in sys.argv[2:]]
    found = list(violations(Path(sys.argv[1]), sources))
    print("\n".join(found) or f"every C++ block stands in one of {len(sources)} compiled sources")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
