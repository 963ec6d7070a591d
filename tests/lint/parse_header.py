#!/usr/bin/env python3
"""Each public header of a layer must parse alone: parse_header.py FOLDER -- COMPILER FLAGS..."""

import subprocess
import sys
from pathlib import Path


def main():
    folder, separator, *compiler = sys.argv[1:]
    assert separator == "--"
    headers = sorted(Path(folder).glob("*.h"))
    failed = 0
    for header in headers:
        source = f'#include "{header}"\n'
        command = [*compiler, "-fsyntax-only", "-x", "c++", "-"]
        failed += subprocess.run(command, input=source, text=True).returncode != 0
    print(f"{len(headers)} headers of {folder}, {failed} do not parse alone")
    return 1 if failed or not headers else 0


if __name__ == "__main__":
    sys.exit(main())
