"""Run the shop: ``python -m example_app``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from example_app.launcher import USUAL_PORT, Wishes, run


def main() -> int:
    """Read the command line and run the shop until Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="python -m example_app", description="A small shop over several memcached nodes."
    )
    parser.add_argument(
        "--port",
        type=_number(0, 65535),
        help=f"port of the shop; 0 takes a free one (default: {USUAL_PORT}, or a free one)",
    )
    parser.add_argument(
        "--workers",
        type=_number(1, 64),
        default=2,
        help="worker processes of the shop (default: 2)",
    )
    parser.add_argument(
        "--nodes",
        type=_number(0, 64),
        default=3,
        help="memcached nodes to start (default: 3; 0: local storage only)",
    )
    options = parser.parse_args()
    return run(Wishes(port=options.port, workers=options.workers, nodes=options.nodes))


def _number(least: int, most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) <= most:
            msg = f"{text!r} is not a number from {least} to {most}"
            raise argparse.ArgumentTypeError(msg)
        return int(text)

    return parse


if __name__ == "__main__":
    sys.exit(main())
