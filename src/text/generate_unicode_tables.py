#!/usr/bin/env python3
"""Writes the code point tables of src/text from the Unicode character database.

The tokenizers library classifies characters by two tables of different age, so there are two:
  pip install unicodedata2==16.0.0; generate_unicode_tables.py categories > unicode_categories.inc
      general categories, as Oniguruma 6.9.10 has them (\\p{...}, \\s, \\d, \\w in patterns)
  pip install unicodedata2==17.0.0; generate_unicode_tables.py numeric > unicode_numeric.inc
      Rust's char::is_numeric (the Digits pre-tokenizer)
"""

import sys

import unicodedata2

VERSIONS = {"categories": "16.0.0", "numeric": "17.0.0"}


def ranges(label):
    """Yields (first, last, label) of the runs of code points with an equal, not-None label."""
    first, current = 0, label(0)
    for code in range(1, 0x110001):
        following = label(code) if code < 0x110000 else object()
        if following != current:
            if current is not None:
                yield first, code - 1, current
            first, current = code, following


def category(code):
    name = unicodedata2.category(chr(code))
    return None if name == "Cn" else name


def numeric(code):
    return "N" if unicodedata2.category(chr(code))[0] == "N" else None


def main():
    table = sys.argv[1]
    assert unicodedata2.unidata_version == VERSIONS[table], unicodedata2.unidata_version
    print(f"// Unicode {VERSIONS[table]}, written by generate_unicode_tables.py. clang-format off")
    line = ""
    for first, last, label in ranges(category if table == "categories" else numeric):
        name = f", k{label}" if table == "categories" else ""
        entry = f"{{0x{first:X}, 0x{last:X}{name}}}, "
        if len(line) + len(entry) > 100:
            print(line.rstrip())
            line = ""
        line += entry
    print(line.rstrip())


if __name__ == "__main__":
    main()
