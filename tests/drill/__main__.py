"""``make drill``: everything fails while people click, and the table says who noticed.

Run as ``python tests/drill``; nothing but the package, gunicorn and memcached is needed.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path


# The folder of this file is on the path already; what it shares with the tests is beside it.
sys.path.insert(1, str(Path(__file__).parents[1]))
sys.path.insert(1, str(Path(__file__).parents[2]))

from acts import ACTS, SHORT
from play import Played, play


COLUMNS = (
    ("act", "act"),
    ("requests", "requests"),
    ("errors", "errors"),
    ("lost", "lost changes"),
    ("signed_out", "signed out"),
    ("undone", "logouts undone"),
    ("unseen", "not visible until return"),
    ("retried", "sent again"),
    ("p50", "p50 ms"),
    ("p99", "p99 ms"),
    ("slowest", "slowest ms"),
    ("slowest_local", "slowest local ms"),
    ("recovery", "recovered s"),
)


def main() -> int:
    """Play the acts, print the table, return the exit status."""
    arguments = _arguments()
    if shutil.which("memcached") is None:
        print("memcached is not installed: `make drill` installs it as root, or says how.")
        return 2
    names = arguments.acts or (SHORT if arguments.short else tuple(ACTS))
    played = []
    for name in names:
        print(f"{ACTS[name][0]} ...", end=" ", file=sys.stderr, flush=True)
        played.append(play(name, seconds=arguments.seconds, visitors=arguments.visitors))
        print("well" if played[-1].well else "NOT WELL", file=sys.stderr, flush=True)
    print(table(played))
    for one in played:
        for line in one.complaints[:20]:
            print(f"  {one.act}: {line}")
    if arguments.json:
        arguments.json.write_text(json.dumps([one._asdict() for one in played], indent=2))
    well = all(one.well for one in played)
    print("Nothing was lost and nothing failed." if well else "Something was lost, or failed.")
    return 0 if well else 1


def table(played: list[Played]) -> str:
    """Return the table as Markdown."""
    lines = [[title for _, title in COLUMNS], ["---"] * len(COLUMNS)]
    lines += [[_cell(name, getattr(one, name)) for name, _ in COLUMNS] for one in played]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(name: str, value: object) -> str:
    if isinstance(value, float):
        return f"{value:.1f}" if name == "recovery" else f"{value * 1000:.0f}"
    return "-" if value is None else str(value)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python tests/drill", description=__doc__)
    parser.add_argument("--short", action="store_true", help=f"only {', '.join(SHORT)}")
    parser.add_argument("--acts", nargs="+", choices=sorted(ACTS), metavar="ACT")
    parser.add_argument("--seconds", type=float, default=2.0, help="how long a fault lasts")
    parser.add_argument("--visitors", type=int, default=6, help="browsers that click")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything there")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
