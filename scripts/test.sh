#!/usr/bin/env bash
# Lint, types and tests, two at a time. Sets itself up if need be; arguments go to pytest, which then runs plainly.
set -euo pipefail
cd "$(dirname "$0")/.."
bash scripts/setup.sh
export PATH="$PWD/.venv/bin:$PATH"
ruff format --check .
ruff check .
mypy
if [ $# -gt 0 ]; then
    exec pytest "$@"
fi
# A thread each: two runs that both want every core are slower than one after the other.
OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} exec pytest --numprocesses 2 --maxschedchunk 1
