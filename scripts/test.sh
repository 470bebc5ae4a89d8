#!/usr/bin/env bash
# Lint, types and tests. Sets itself up if need be; arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."
bash scripts/setup.sh
export PATH="$PWD/.venv/bin:$PATH"
ruff format --check .
ruff check .
mypy
pytest "$@"
