#!/usr/bin/env bash
# Bring .venv-third-party up to date: the project, and the suites of others with what they need.
#
# Usage: scripts/venv-third-party.sh [neighbours] after: scripts/venv.sh min
#
# What is pinned in tests/third_party/requirements.txt, and with "neighbours" in
# requirements-neighbours.txt, is installed, and its sdist is fetched for the tests in it. Where the
# package index cannot be reached these tests are skipped; with CI set that is an error.
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/.."

venv=.venv-third-party
python=$venv/bin/python

# bring NAME: what tests/third_party/NAME.txt asks for.
bring() {
    local wanted="tests/third_party/$1.txt"
    .venv/bin/python -m uv pip install --quiet --python "$python" --editable . \
        --requirement "$wanted" || return 1
    # shellcheck disable=SC2046 # one requirement is one word
    .venv/bin/python -m pip --quiet --disable-pip-version-check --python "$python" \
        download --dest "$venv/sdists" --no-deps --no-build-isolation --no-binary :all: \
        $(grep == "$wanted") || return 1
    printf '%s\n' "$(state "$1")" >"$venv/.state-$1"
}

state() {
    cat .venv/.origin
    cksum pyproject.toml "tests/third_party/$1.txt"
}

make_venv() {
    rm -rf "$venv"
    .venv/bin/python -m uv venv --quiet --python .venv/bin/python "$venv" || return 1
    # These make the metadata of sdists, which pip looks at.
    .venv/bin/python -m uv pip install --quiet --python "$python" \
        flit-core poetry-core setuptools hatchling
}

current() {
    [ "$(cat "$venv/.state-$1" 2>/dev/null)" = "$(state "$1")" ]
}

all() {
    current requirements || { make_venv && bring requirements; } || return 1
    [ "${1:-}" != neighbours ] || current requirements-neighbours || bring requirements-neighbours
}

current requirements && [ "${1:-}" != neighbours ] && exit 0
echo "Installing into $venv: suites of other projects and what they need ..."
all "$@" && exit 0
echo "The suites of other projects could not be fetched from the package index." >&2
[ -z "${CI:-}" ]
