#!/usr/bin/env python3
"""Ratios of two benchmark reports by row: how many times faster B is than A.

A and B are reports of a benchmark program or of peers.py, or folders of them; a row that stands in
several reports of a folder (rounds) counts with its medians. Rows are matched by name, shape, group
size and dtype. Rows of B that were measured in turns with a baseline get a second table; with the
same path twice it is the only one.
"""

import argparse
import json
import sys
from fnmatch import fnmatchcase
from pathlib import Path
from statistics import median


def key(row):
    """The identity of a row, as the options spell it: "weight 4w forward 576x576 g32 float32"."""
    group = f" g{row['group_size']}" if row["group_size"] else ""
    return f"{row['name']} {row['shape']}{group} {row['dtype']}"


def merge(rows):
    """One row of the rounds: its numbers are the medians."""
    merged = dict(rows[0])
    for field in ("median_ms", "ratio"):
        values = [row[field] for row in rows if row.get(field) is not None]
        if values:
            merged[field] = median(values)
    merged["rounds"] = len(rows)
    return merged


def read_rows(path):
    """Key -> row, in the order of the reports."""
    files = sorted(path.glob("*.json")) if path.is_dir() else [path]
    if not files:
        raise SystemExit(f"{path}: no reports")
    found = {}
    for file in files:
        report = json.loads(file.read_text(encoding="utf-8"))
        if report.get("skipped"):
            print(f"{file}: skipped: {report['skipped']}")
        for skipped in report.get("skipped_rows", []):
            print(f"{file}: {skipped['row']}: skipped: {skipped['reason']}")
        for row in report["rows"]:
            found.setdefault(key(row), []).append(row)
    return {name: merge(rows) for name, rows in found.items()}


def parse_rule(text):
    """'NAME=RATIO' -> (name, ratio)."""
    name, separator, ratio = text.rpartition("=")
    try:
        if separator and name:
            return name, float(ratio)
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"expected NAME=RATIO, got '{text}'")


def check(ratios, rules, is_met, sign):
    """Prints each rule with its worst row; returns how many are missed."""
    missed = 0
    for pattern, bound in rules:
        hits = {name: ratio for name, ratio in ratios.items() if fnmatchcase(name, pattern)}
        failed = [name for name, ratio in hits.items() if not is_met(ratio, bound)]
        missed += not hits or bool(failed)
        verdict = "no such row" if not hits else f"{len(hits) - len(failed)} of {len(hits)} rows"
        print(f"{'MISSED' if failed or not hits else 'ok':7}{pattern} {sign} {bound:g}: {verdict}")
        for name in failed:
            print(f"       {name}: {hits[name]:.3f}")
    return missed


def check_same(a, b, fields):
    """Prints the fields whose values tell that A and B did other work; returns how many."""
    missed = 0
    for field in fields:
        both = [name for name in b if name in a and field in a[name] and field in b[name]]
        differing = [name for name in both if a[name][field] != b[name][field]]
        missed += not both or bool(differing)
        verdict = f"{len(both) - len(differing)} of {len(both)} rows" if both else "no such row"
        print(f"{'MISSED' if differing or not both else 'ok':7}{field} is the same: {verdict}")
        for name in differing:
            print(f"       {name}: {a[name][field]} and {b[name][field]}")
    return missed


def print_table(heads, lines):
    widths = [max(len(line[column]) for line in [heads, *lines]) for column in range(len(heads))]
    for line in [heads, *lines]:
        print("  ".join(cell.ljust(width) if column == 0 else cell.rjust(width)
                        for column, (cell, width) in enumerate(zip(line, widths))))
    print()


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("a", type=Path, help="the peer: report or folder of reports")
    parser.add_argument("b", type=Path, help="ours")
    parser.add_argument("--require", type=parse_rule, action="append", default=[],
                        metavar="NAME=RATIO", help="A's time / B's time must be at least RATIO for "
                        "every row whose name matches NAME (* and ? are wildcards)")
    parser.add_argument("--limit", type=parse_rule, action="append", default=[],
                        metavar="NAME=RATIO", help="B's time / its own baseline's must be at most "
                        "RATIO")
    parser.add_argument("--same", action="append", default=[], metavar="FIELD",
                        help="this field (a checksum) must be equal in every row that both have it")
    arguments = parser.parse_args()

    a, b = read_rows(arguments.a), read_rows(arguments.b)
    speedups = {name: a[name]["median_ms"] / b[name]["median_ms"] for name in b if name in a}
    paired = {name: row["ratio"] for name, row in b.items() if "ratio" in row}
    if arguments.a != arguments.b:
        print_table(["row", "A ms", "B ms", "A / B"],
                    [[name, f"{a[name]['median_ms']:.4f}", f"{b[name]['median_ms']:.4f}",
                      f"{ratio:.2f}"] for name, ratio in speedups.items()])
    if paired:
        print_table(["row of B", "ms", "of its baseline", "baseline"],
                    [[name, f"{b[name]['median_ms']:.4f}", f"{ratio:.3f}", b[name]["baseline"]]
                     for name, ratio in paired.items()])
    missed = check(speedups, arguments.require, lambda ratio, bound: ratio >= bound, ">=")
    missed += check(paired, arguments.limit, lambda ratio, bound: ratio <= bound, "<=")
    missed += check_same(a, b, arguments.same)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
