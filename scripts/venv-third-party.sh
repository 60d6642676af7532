#!/usr/bin/env bash
# Bring .venv-third-party up to date: the project, and the suites of others with what they need.
#
# Usage: scripts/venv-third-party.sh              after: scripts/venv.sh min
#
# What is pinned in tests/third_party/requirements.txt is installed, and its sdist is fetched for
# the tests in it. Where the package index cannot be reached the tests are skipped; with CI set
# that is an error.
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/.."

wanted=tests/third_party/requirements.txt
state="$(cat .venv/.origin; cksum pyproject.toml "$wanted")"
[ "$(cat .venv-third-party/.state 2>/dev/null)" != "$state" ] || exit 0

install() {
    rm -rf .venv-third-party
    .venv/bin/python -m uv venv --quiet --python .venv/bin/python .venv-third-party || return 1
    # The last three build the metadata of sdists, which pip looks at.
    .venv/bin/python -m uv pip install --quiet --python .venv-third-party/bin/python \
        --editable . --requirement "$wanted" flit-core poetry-core setuptools hatchling || return 1
    # shellcheck disable=SC2046 # one requirement is one word
    .venv/bin/python -m pip --quiet --disable-pip-version-check --python .venv-third-party/bin/python \
        download --dest .venv-third-party/sdists --no-deps --no-build-isolation --no-binary :all: \
        $(grep == "$wanted") || return 1
    printf '%s\n' "$state" >.venv-third-party/.state
}

echo "Installing into .venv-third-party: suites of other projects and what they need ..."
install && exit 0
echo "The suites of other projects could not be fetched from the package index." >&2
[ -z "${CI:-}" ]
