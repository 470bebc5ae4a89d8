#!/usr/bin/env bash
# Builds the documentation's site into site/ and fails on a dead link. `bash scripts/docs.sh serve` shows it while you write.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ ! -x .venv/bin/python ]; then
    "${PYTHON:-python3}" -m venv .venv
fi
if ! .venv/bin/python -c 'import material' 2>/dev/null; then
    # As the docs extra in pyproject.toml has it, which would bring PyTorch too.
    .venv/bin/python -m pip install --quiet --disable-pip-version-check 'mkdocs-material>=9.5,<10'
fi
export NO_MKDOCS_2_WARNING=1
if [ $# -gt 0 ]; then
    exec .venv/bin/python -m mkdocs "$@"
fi
.venv/bin/python -m mkdocs build --strict
echo "the site: site/index.html"
