#!/usr/bin/env bash
# with_model.sh COMMAND...: runs COMMAND with the path of SmolLM2-135M as its last argument, from
# NIBBLE_SMOLLM2_GGUF or the project's models/ folder; exit code 77 (skipped) where there is none.
set -euo pipefail
model=${NIBBLE_SMOLLM2_GGUF:-$(dirname "${BASH_SOURCE[0]}")/../../models/SmolLM2-135M-Instruct.Q4_1.gguf}
if [[ ! -f $model ]]; then
  echo "skipped: no model at $model (./bootstrap.sh test downloads it)"
  exit 77
fi
exec "$@" "$model"
