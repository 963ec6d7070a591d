#!/usr/bin/env bash
# Our benchmarks and the peers' on this machine's CPU, one after the other, and the table with the
# project's targets; exit code 1 when one is missed. Wants a machine that does nothing else.
#   tests/benchmarks/run_cpu.sh MODEL_DIR [OUT_FOLDER]
# MODEL_DIR is SmolLM2-135M as a Hugging Face directory. Environment:
#   PYTHON   with torch 2.11, torchao 0.18 and transformers (default python3)
#   BIN      folder of our programs (default build/release/bin)
#   ROUNDS   default 3
#   SAMPLES  of a kernel, an operator, a Linear in each round (default 15)
#   STEPS    measured training steps in each round (default 10)
#   THREADS  default: the cores
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
here=$root/tests/benchmarks
model=${1:?usage: run_cpu.sh MODEL_DIR [OUT_FOLDER]}
out=${2:-$root/build/benchmarks}
bin=${BIN:-$root/build/release/bin}
python=${PYTHON:-python3}
rounds=${ROUNDS:-3}
samples=${SAMPLES:-15}
steps=${STEPS:-10}
threads=${THREADS:-$(nproc)}
tokens=256
group_size=32

# Reports of a run before would count as rounds of this one.
stacks=(kernels operators linears steps torchao torchao_compiled huggingface)
for stack in "${stacks[@]}"; do
  mkdir -p "$out/$stack"
  rm -f "$out/$stack"/*.json
done

peers() { "$python" "$here/peers.py" "$1" --threads "$threads" "${@:2}"; }

fake_quant() {  # ROUND
  "$bin/bench_fake_quant" --threads "$threads" --samples "$samples" --group-size "$group_size" \
    --json "$out/kernels/$1.json"
  peers fake-quant --rows-of "$out/kernels/$1.json" --samples "$samples" \
    --json "$out/torchao/$1.json" --nibble-ops "$bin/../lib/libnibble_ops.so" \
    --nibble-json "$out/operators/$1.json"
  peers fake-quant --rows-of "$out/kernels/$1.json" --samples "$samples" --compile \
    --json "$out/torchao_compiled/$1.json"
}

training_steps() {  # ROUND
  local dtype scheme
  for dtype in float32 bfloat16; do
    for scheme in 8da4w 4w; do
      "$bin/bench_training_step" --model "$model" --scheme "$scheme" --group-size "$group_size" \
        --tokens "$tokens" --dtype "$dtype" --steps "$steps" --threads "$threads" --compare \
        --json "$out/steps/${dtype}_${scheme}_$1.json"
    done
    peers training-step --model "$model" --scheme none 8da4w 4w --group-size "$group_size" \
      --tokens "$tokens" --dtype "$dtype" --steps "$steps" \
      --json "$out/huggingface/${dtype}_$1.json"
  done
}

echo "commit $(git -C "$root" describe --always --dirty)"
echo "load before: $(cut -d' ' -f1-3 /proc/loadavg)"
for ((round = 1; round <= rounds; ++round)); do
  echo "== round $round of $rounds"
  fake_quant "$round"
  "$bin/bench_linear" --threads "$threads" --samples "$samples" --json "$out/linears/$round.json"
  training_steps "$round"
done

status=0
compare() {  # TITLE A B [rules]
  echo
  echo "== $1"
  "$python" "$here/compare.py" "$out/$2" "$out/$3" "${@:4}" || status=1
}
compare "TorchAO eager (A), our kernels (B)" torchao kernels
compare "TorchAO compiled (A), our kernels (B)" torchao_compiled kernels
compare "TorchAO eager (A), our operators (B), in turns" torchao operators \
  --require "weight *=10" --require "activation *=10"
compare "Linear forward + backward (B) against torch::nn::Linear" linears linears
compare "Training step, Hugging Face + TorchAO (A), ours (B)" huggingface steps \
  --require "training step none *=1" \
  --limit "training step * float32=1.10" --limit "training step * bfloat16=1.2"
exit $status
