#!/usr/bin/env python3
"""Writes the code point tables of src/text from the Unicode character database.

The tokenizers library has Unicode data of three ages, so there are three tables:
  pip install unicodedata2==16.0.0; generate_unicode_tables.py categories > unicode_categories.inc
      general categories, as Oniguruma 6.9.10 has them (\\p{...}, \\s, \\d, \\w in patterns)
  pip install unicodedata2==17.0.0; generate_unicode_tables.py numeric > unicode_numeric.inc
      Rust's char::is_numeric (the Digits pre-tokenizer)
  generate_unicode_tables.py unassigned > unicode_unassigned.inc
      not in Unicode 9, so unknown to the normalizers NFC, NFD, NFKC and NFKD; asks Perl, since no
      wheel of that age exists
"""

import subprocess
import sys

VERSIONS = {"categories": "16.0.0", "numeric": "17.0.0", "unassigned": "9.0.0"}


def ranges(labels):
    """Yields (first, last, label) of the runs of code points with an equal, not-None label."""
    first, current = 0, labels[0]
    for code in range(1, 0x110001):
        following = labels[code] if code < 0x110000 else object()
        if following != current:
            if current is not None:
                yield first, code - 1, current
            first, current = code, following


def categories():
    import unicodedata2

    assert unicodedata2.unidata_version == VERSIONS[sys.argv[1]], unicodedata2.unidata_version
    return [unicodedata2.category(chr(code)) for code in range(0x110000)]


def unassigned():
    script = r'print chr($_) =~ /\p{Present_In: 9.0}/ ? 1 : 0 for 0..0x10FFFF'
    present = subprocess.run(["perl", "-e", script], capture_output=True, check=True).stdout
    return [None if flag == ord("1") else "Cn" for flag in present]


def main():
    table = sys.argv[1]
    labels = unassigned() if table == "unassigned" else categories()
    if table == "categories":
        labels = [None if label == "Cn" else label for label in labels]
    elif table == "numeric":
        labels = ["N" if label[0] == "N" else None for label in labels]
    print(f"// Unicode {VERSIONS[table]}, written by generate_unicode_tables.py. clang-format off")
    line = ""
    for first, last, label in ranges(labels):
        name = f", k{label}" if table == "categories" else ""
        entry = f"{{0x{first:X}, 0x{last:X}{name}}}, "
        if len(line) + len(entry) > 100:
            print(line.rstrip())
            line = ""
        line += entry
    print(line.rstrip())


if __name__ == "__main__":
    main()
