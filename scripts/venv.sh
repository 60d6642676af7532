#!/usr/bin/env bash
# Bring .venv up to date: the project (editable) and the dependency groups that are named.
#
# Usage: scripts/venv.sh GROUP...                 GROUP as in pyproject.toml
#
# Versions are those of constraints.txt; UNPINNED=1 takes the newest ones instead.
#
# A stamp in .venv records which groups were installed for which pyproject.toml; where it is
# right, nothing is done. An environment that was moved, made by another Python, or left half
# made is made anew.
set -eu
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python="$(scripts/python.sh)"
origin="$PWD $("$python" -c 'import sys; print(sys.base_prefix, sys.version)' | tr '\n' ' ')"
pinned=scripts/constraints.txt
[ -z "${UNPINNED:-}" ] || pinned=/dev/null
state="$(cat pyproject.toml "$pinned" | cksum)"

if [ "$(cat .venv/.origin 2>/dev/null)" != "$origin" ] ||
    ! .venv/bin/python -c 'import sys' >/dev/null 2>&1; then
    echo "Making .venv ..."
    rm -rf .venv
    "$python" -m venv .venv
    # pip installs dependency groups since 25.1; a Python may bring an older one.
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
    printf '%s\n' "$origin" >.venv/.origin
fi

options=()
for group in "$@"; do
    if [ "$(cat ".venv/.group-$group" 2>/dev/null)" != "$state" ]; then
        options+=(--group "$group")
    fi
done
[ ${#options[@]} -gt 0 ] || exit 0

echo "Installing into .venv: flask-msm and what it needs ..."
.venv/bin/python -m pip install --quiet --disable-pip-version-check \
    --constraint "$pinned" --editable . "${options[@]}"
for group in "$@"; do
    printf '%s\n' "$state" >".venv/.group-$group"
done
