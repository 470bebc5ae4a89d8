#!/usr/bin/env bash
# Checks the package on a CUDA device and measures it there, in at most ten minutes; needs nothing from the network.
#   bash scripts/gpu_check.sh                 writes gpu-check.md into the current folder
#   bash scripts/gpu_check.sh --dry-run       the same with next to no work, on a CPU too
# Takes the packages of .venv if it is there, else those of python3; what needs a package that is missing is left out
# with its name.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
python=$root/.venv/bin/python
[ -x "$python" ] || python=${PYTHON:-python3}
export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
exec "$python" "$root/scripts/gpu_check.py" "$@"
