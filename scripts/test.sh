#!/usr/bin/env bash
# Lint, types and tests, two at a time. Sets itself up if need be.
#   bash scripts/test.sh            all of it, about half an hour with the set-up
#   bash scripts/test.sh --quick    without what starts commands or trains for long, a few minutes
#   bash scripts/test.sh ARGUMENTS  those go to pytest, which then runs plainly
set -euo pipefail
cd "$(dirname "$0")/.."
# Python compiles the modules that it imports; all of all packages would take a minute.
UV_COMPILE_BYTECODE=0 bash scripts/setup.sh dev
export PATH="$PWD/.venv/bin:$PATH"
ruff format --check .
ruff check .
# A thread each: two runs that both want every core are slower than one after the other.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
two=(--numprocesses 2 --dist loadgroup --no-loadscope-reorder --durations 10)
case ${1:-} in
    "")
        # Beside the tests, because it has use for one core only; tests that wait for something go first.
        nice mypy &
        types=$! failed=0
        pytest "${two[@]}" || failed=$?
        wait $types || failed=1
        exit $failed
        ;;
    --quick) shift && mypy && exec pytest "${two[@]}" -m unit "$@" ;;
    *) mypy && exec pytest "$@" ;;
esac
