#!/usr/bin/env bash
# Bring .venv-min up to date: the project with the oldest versions it supports.
#
# Usage: scripts/venv-min.sh                      after: scripts/venv.sh min
set -eu
cd "$(dirname "${BASH_SOURCE[0]}")/.."

state="$(cat .venv/.origin; cksum <pyproject.toml)"
[ "$(cat .venv-min/.state 2>/dev/null)" != "$state" ] || exit 0

echo "Installing into .venv-min: flask-msm and the oldest versions of what it needs ..."
rm -rf .venv-min
.venv/bin/python -m uv venv --quiet --python .venv/bin/python .venv-min
# A test of the layers runs import-linter.
.venv/bin/python -m uv pip install --quiet --python .venv-min/bin/python \
    --resolution lowest-direct --editable . --group tests --group lint
printf '%s\n' "$state" >.venv-min/.state
