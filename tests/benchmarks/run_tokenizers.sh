#!/usr/bin/env bash
# Our tokenizer and Hugging Face's on the same texts, in turns, and the table; exit code 1 when ours
# is slower anywhere, or gives other ids.
#   tests/benchmarks/run_tokenizers.sh TOKENIZERS TEXTS [OUT_FOLDER]
# TOKENIZERS: a folder of folders with a tokenizer.json or tokenizer.json.gz; TEXTS: files, joined by
# ':'. Source code as a text:
#   cat "$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"/[a-d]*.py >code.txt
# Environment:
#   PYTHON   with tokenizers (default python3)
#   BIN      folder of our programs (default build/release/bin)
#   THREADS  of the parallel encoding (default: the cores)
#   ROUNDS   default 3
#   SAMPLES  in each round (default 5)
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
here=$root/tests/benchmarks
usage="usage: run_tokenizers.sh TOKENIZERS TEXTS [OUT_FOLDER]"
tokenizers=${1:?$usage}
texts=${2:?$usage}
out=${3:-$root/build/benchmarks/tokenizers}
bin=${BIN:-$root/build/release/bin}
rounds=${ROUNDS:-3}

arguments=(--samples "${SAMPLES:-5}" --threads "${THREADS:-$(nproc)}")
for folder in "$tokenizers"/*/; do
  arguments+=(--tokenizer "${folder%/}")
done
IFS=: read -ra files <<<"$texts"
for file in "${files[@]}"; do
  arguments+=(--text "$file")
done

# Reports of a run before would count as rounds of this one.
for stack in ours huggingface; do
  mkdir -p "$out/$stack"
  rm -f "$out/$stack"/*.json
done
echo "commit $(git -C "$root" describe --always --dirty)"
echo "load before: $(cut -d' ' -f1-3 /proc/loadavg)"
for ((round = 1; round <= rounds; ++round)); do
  echo "== round $round of $rounds"
  "$bin/bench_tokenizer" "${arguments[@]}" --json "$out/ours/$round.json"
  "${PYTHON:-python3}" "$here/tokenizer_peer.py" "${arguments[@]}" \
    --json "$out/huggingface/$round.json"
done
echo "load after: $(cut -d' ' -f1-3 /proc/loadavg)"
echo
"${PYTHON:-python3}" "$here/compare.py" "$out/huggingface" "$out/ours" --same ids_crc32 \
  --require "encode *=1" --require "decode *=1"
