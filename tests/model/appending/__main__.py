"""Search the model for longer than a test may."""

from __future__ import annotations

import argparse
import sys
import time

from .scenarios import BUGS, CRASH, FAULTS, SCRIPTS, play, play_bug
from .world import Result


def main() -> int:
    """Search; return 1 if something does not hold, or a bug was not found."""
    parser = argparse.ArgumentParser(prog="python -m tests.model.appending", description=__doc__)
    parser.add_argument("--limit", type=int, default=1_000_000, help="states of one search")
    parser.add_argument("--only", default="", help="a part of the name of a script")
    parser.add_argument("--faults", type=int, default=1, help="how many in one run")
    parser.add_argument("--kinds", default=",".join((*FAULTS, CRASH)), help="what may happen")
    parser.add_argument("--copies", type=int, default=2, help="how many homes a session has")
    parser.add_argument("--bugs", action="store_true", help="play the bugs instead")
    options = parser.parse_args()
    wrong = 0
    if options.bugs:
        for bug in BUGS:
            found = play_bug(bug, limit=options.limit)
            wrong += not found.violated
            report(bug, found)
        return int(bool(wrong))
    kinds = tuple(options.kinds.split(","))
    for script in SCRIPTS:
        if options.only not in script:
            continue
        began = time.monotonic()
        found = play(script, kinds, homes=options.copies, limit=options.limit, most=options.faults)
        wrong += bool(found.violated)
        report(f"{script} ({time.monotonic() - began:.0f} s)", found)
    return int(bool(wrong))


def report(title: str, found: Result) -> None:
    """Print what a search found."""
    end = "all of them" if found.complete else "so far"
    print(f"{title}: {found.states} states, {found.violated or f'holds ({end})'}", flush=True)
    for step in found.way:
        print(f"    {step}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
