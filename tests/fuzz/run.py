"""Feeds everything that is parsed with broken input, for as long as wanted.

Run ``python tests/fuzz/run.py``. Inputs are other ones with every run; what was found is tried
first with the next one, until it is mended (Hypothesis keeps it in ``.hypothesis``).
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path


HERE = Path(__file__).parent
#: Inputs of each test by default.
EXAMPLES = 5_000


def main() -> int:
    """Run the tests of this folder; return 0 when nothing was found."""
    parser = argparse.ArgumentParser(description=__doc__, prog="make audit PART=fuzz")
    parser.add_argument(
        "--examples", type=int, default=EXAMPLES, help=f"inputs of each test ({EXAMPLES})"
    )
    parser.add_argument("--only", default="", help="tests with this in their name, as pytest's -k")
    arguments = parser.parse_args()
    if arguments.examples < 1:
        parser.error(f"--examples {arguments.examples}: allowed are whole numbers from 1")
    os.environ["FUZZ_EXAMPLES"] = str(arguments.examples)
    command = ["-m", "pytest", "-q", str(HERE), "-k", arguments.only]
    os.chdir(HERE.parents[1])
    os.execv(sys.executable, [sys.executable, *command])


if __name__ == "__main__":
    sys.exit(main())
