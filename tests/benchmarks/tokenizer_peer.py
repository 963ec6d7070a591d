#!/usr/bin/env python3
"""Times Hugging Face `tokenizers`, as rows of the same form as bench_tokenizer's.

Documents are encoded one by one with their offsets (`encode`) and without (`encode_batch_fast` of
one document), and decoded: the process's CPU time on one thread. `encode_batch` of all documents on
one thread and on several: wall time. Where the package is missing the report holds the reason under
"skipped" and no rows.
"""

import argparse
import gzip
import json
import os
import time
import zlib
from array import array
from pathlib import Path
from statistics import median

from peers import Skipped, interleave, require, write_report

PARALLELISM = "TOKENIZERS_PARALLELISM"  # read by every call
os.environ[PARALLELISM] = "false"


def strings(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, dict)):
        for member in value.values() if isinstance(value, dict) else value:
            yield from strings(member)


def read_documents(path, document_bytes):
    """The rule of text_documents.h."""
    documents, part = [], b""
    with path.open("rb") as file:
        for line in file:  # a binary file's lines end in line feeds alone
            if path.suffix == ".jsonl":
                documents.append("\n".join(strings(json.loads(line))))
                continue
            part += line
            if len(part) >= document_bytes:
                documents.append(part.decode())
                part = b""
    return [document for document in [*documents, part.decode()] if document]


def load(folder):
    (tokenizers,) = require("tokenizers")
    plain = folder / "tokenizer.json"
    data = plain.read_bytes() if plain.exists() else gzip.decompress(
        (folder / "tokenizer.json.gz").read_bytes())
    return tokenizers.Tokenizer.from_str(data.decode())


def timed(work, clock=time.process_time):
    def sample():
        start = clock()
        work()
        return (clock() - start) * 1e3

    return sample


def timed_batch(tokenizer, documents, threads):
    def work():
        os.environ[PARALLELISM] = "false" if threads == 1 else "true"
        tokenizer.encode_batch(documents)
        os.environ[PARALLELISM] = "false"

    return timed(work, time.perf_counter)


def measure(tokenizer, name, path, arguments):
    documents = read_documents(path, arguments.document_bytes)
    ids = [tokenizer.encode(document).ids for document in documents]
    works = {
        "encode": timed(lambda: [tokenizer.encode(document) for document in documents]),
        "encode ids": timed(
            lambda: [tokenizer.encode_batch_fast([document]) for document in documents]),
        "decode": timed(lambda: [tokenizer.decode(document) for document in ids]),
    }
    batches = {f"encode batch, threads {threads}": threads for threads in {1, arguments.threads}}
    works |= {what: timed_batch(tokenizer, documents, threads)
              for what, threads in batches.items()}
    samples = interleave(list(works.values()), arguments.warmup, arguments.samples)
    crc = 0
    for document in ids:
        crc = zlib.crc32(array("q", document).tobytes(), crc)
    nbytes = sum(len(document.encode()) for document in documents)
    for what, times in zip(works, samples):
        milliseconds = median(times)
        yield {"name": f"{what} {name}", "shape": path.stem, "group_size": 0, "dtype": "utf-8",
               "median_ms": milliseconds, "samples": len(times), "documents": len(documents),
               "bytes": nbytes, "tokens": sum(map(len, ids)), "ids_crc32": crc,
               "megabytes_per_second": nbytes / milliseconds * 1e-3,
               "threads": batches.get(what, 1)}


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokenizer", type=Path, action="append", required=True,
                        help="folder of a tokenizer.json or tokenizer.json.gz, may be repeated")
    parser.add_argument("--text", type=Path, action="append", required=True,
                        help="file, may be repeated; of a .jsonl each line's strings")
    parser.add_argument("--json", type=Path, required=True, help="report")
    parser.add_argument("--threads", type=int, default=os.cpu_count(),
                        help="of the parallel encoding, default: the cores")
    parser.add_argument("--samples", type=int, default=7)
    parser.add_argument("--warmup", type=int, default=1, help="samples before them")
    parser.add_argument("--document-bytes", type=int, default=16384)
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    os.environ["RAYON_NUM_THREADS"] = str(arguments.threads)  # read by the first parallel call
    report = {"program": "tokenizer_peer.py", "rows": []}
    try:
        (tokenizers,) = require("tokenizers")
        report["tokenizers"] = tokenizers.__version__
        for folder in arguments.tokenizer:
            tokenizer = load(folder)
            for path in arguments.text:
                for row in measure(tokenizer, folder.name, path, arguments):
                    report["rows"].append(row)
                    print(f"{row['name']:36} {row['shape']:24} {row['tokens']:9} tokens "
                          f"{row['median_ms']:10.3f} ms {row['megabytes_per_second']:8.2f} MB/s",
                          flush=True)
    except Skipped as reason:
        report["skipped"] = str(reason)
        print(f"tokenizers: skipped: {reason}")
    write_report(arguments.json, report)


if __name__ == "__main__":
    main()
