#!/usr/bin/env bash
# Print the path of a Python 3.11 or newer: $PYTHON if it is set, else the first that is found.
set -eu

new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

for candidate in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
    if new_enough "$candidate"; then
        # The path the interpreter gives itself: wrappers such as pyenv's have another one.
        exec "$candidate" -c 'import sys; print(sys.executable)'
    fi
done

if [ -n "${PYTHON:-}" ]; then
    echo "PYTHON is set to '$PYTHON', which is not a Python 3.11 or newer." >&2
else
    echo "Python 3.11 or newer is needed and was not found." >&2
    echo "If it is somewhere else, name it: make PYTHON=/path/to/python3.11 ..." >&2
fi
exit 1
