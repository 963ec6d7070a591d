#!/usr/bin/env bash
# Everything about the CUDA kernels on a machine with a GPU, in one command:
#   tests/gpu/run.sh [BIN_FOLDER] [OUT_FOLDER]
# BIN_FOLDER holds nibble_gpu_check and bench_fake_quant (built here when they are missing and nvcc
# is there). Memory checkers first, then all bits, then the times. Fails when a bit differs or a
# checker complains.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
bin=${1:-$root/build/gpu/bin}
out=${2:-$root/build/gpu}
golden=${NIBBLE_GOLDEN_DIR:-$root/tests/golden}
mkdir -p "$out"

if [[ ! -x $bin/nibble_gpu_check || ! -x $bin/bench_fake_quant ]]; then
  cmake --preset torchfree -S "$root" -B "$root/build/gpu" -DNIBBLE_CUDA=ON -DCMAKE_BUILD_TYPE=Release
  cmake --build "$root/build/gpu" --target nibble_gpu_check bench_fake_quant
  bin=$root/build/gpu/bin
fi
nvidia-smi --query-gpu=name,driver_version,clocks.max.sm --format=csv,noheader || true

status=0
sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2>/dev/null || true)
if [[ -n $sanitizer ]]; then
  for tool in memcheck racecheck; do
    echo "== compute-sanitizer $tool"
    timeout 240 "$sanitizer" --tool "$tool" --error-exitcode 9 "$bin/nibble_gpu_check" --small \
      --golden "$golden" > "$out/$tool.log" 2>&1 ||
      { status=1; echo "$tool failed, see $out/$tool.log"; }
    tail -n 4 "$out/$tool.log"
  done
else
  echo "== compute-sanitizer not found: memory checks NOT run"
fi

echo "== all bits"
"$bin/nibble_gpu_check" --golden "$golden" || status=1
echo "== times"
"$bin/bench_fake_quant" --device cuda --json "$out/bench.json" | tee "$out/bench.txt" || status=1
exit $status
