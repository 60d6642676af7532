"""Lists the files of which tests take too few branches: ``python scripts/branches.py REPORT``.

REPORT is what ``coverage json`` wrote. Fails when there is such a file.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


#: Branches of each file that have to be taken, of 100.
FLOOR = 90


def main(report: str) -> int:
    """Print the files below the floor, and return how many there are."""
    below = 0
    for name, file in sorted(json.loads(Path(report).read_text(encoding="utf-8"))["files"].items()):
        summary = file["summary"]
        taken, all_ = summary["covered_branches"], summary["num_branches"]
        if taken * 100 < FLOOR * all_:
            below += 1
            missed = ", ".join(f"{line}->{to}" for line, to in file["missing_branches"])
            print(f"{name}: {taken} of {all_} branches; not {missed}")
    print(f"{below} files below {FLOOR} %" if below else f"every file has {FLOOR} % or more")
    return below


if __name__ == "__main__":
    sys.exit(min(main(sys.argv[1]), 1))
