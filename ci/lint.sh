#!/usr/bin/env bash
# Style, format and types: bash ci/lint.sh [PYTHON], in an environment with the extra `dev`. Runs all three, so that
# one run shows everything that is wrong.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=${1:-python3}

status=0
"$python" -m ruff check . || status=1
"$python" -m ruff format --check . || status=1
"$python" -m mypy || status=1
exit "$status"
