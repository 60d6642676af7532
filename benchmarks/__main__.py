"""``python -m benchmarks``."""

from __future__ import annotations

import argparse
import signal
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from .bad_attribute import compare
from .cells import CELLS
from .contenders import LOCAL, NONE, OURS, all_contenders
from .habits import habits
from .measure import (
    Group,
    count_calls,
    count_operations,
    count_round_trips,
    measure,
    measure_blocks,
    taking_turns,
)
from .nodes import MemcachedError, running
from .profiling import profile
from .raw import limits
from .report import report
from .results import Results
from .visitors import newcomer


if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.memcached import Memcached

    from .cells import Cell
    from .contenders import Contender

#: Three nodes: what our sessions choose from.
NODES = 3
#: So that a run takes about two minutes.
REQUESTS = 2500


def main() -> int:
    """Measure, print, and return the exit status."""
    arguments = _arguments()
    # As Ctrl-C: all started processes end.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        with running(NODES) as nodes, ExitStack() as closing:
            if arguments.bad_attribute:
                print(compare(nodes, arguments.requests))
                return 0
            contenders = all_contenders(nodes, closing)
            if arguments.habits:
                print(habits(contenders, nodes, closing))
                return 0
            if arguments.profile:
                print(_profile(arguments.profile, contenders, nodes))
                return 0
            results = _measure(
                contenders, nodes, closing, rounds=arguments.requests, browsers=arguments.browsers
            )
    except MemcachedError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(report(results))
    if arguments.json:
        arguments.json.write_text(results.as_json(), encoding="utf-8")
    return 0


def _measure(
    contenders: Sequence[Contender],
    nodes: Sequence[Memcached],
    closing: ExitStack,
    *,
    rounds: int,
    browsers: int,
) -> Results:
    groups = {cell.name: _group(cell, contenders, nodes, browsers) for cell in CELLS}
    patterns = limits(nodes, closing)
    raw = Group("raw", {one.name: one.request for one in patterns})
    for contender in contenders:
        contender.wait_ready()
    measure([*groups.values(), raw], rounds)
    measure_blocks(list(groups.values()), rounds)
    return Results(
        contenders,
        groups,
        patterns,
        raw,
        {name: count_operations(group, nodes) for name, group in groups.items()},
        {name: count_calls(group) for name, group in groups.items()},
        {name: count_round_trips(group) for name, group in groups.items()},
        nodes[0].stats()["version"],
        rounds,
        browsers,
    )


def _group(
    cell: Cell, contenders: Sequence[Contender], nodes: Sequence[Memcached], browsers: int
) -> Group:
    return Group(
        cell.name,
        {
            one.name: taking_turns(
                [newcomer(one, cell, _home(one, nodes)) for _ in range(browsers)]
            )
            for one in contenders
        },
        {one.name: one.settle for one in contenders if one.manager is not None},
    )


def _profile(wanted: str, contenders: Sequence[Contender], nodes: Sequence[Memcached]) -> str:
    name, _, copies = wanted.rpartition("-")
    cell = next(one for one in CELLS if one.name == name)
    found = {one.name: one for one in contenders}
    ours = found[OURS[int(copies)]]
    visitors = [newcomer(one, cell, _home(one, nodes)) for one in (ours, found[NONE])]
    return f"{cell.label}, {ours.label[1]}: {profile(*visitors)}"


def _home(contender: Contender, nodes: Sequence[Memcached]) -> tuple[str, ...]:
    """Return where a session of ours shall live: first where Flask-Session keeps its own."""
    if contender.name == LOCAL:
        return ()
    copies = 1 if contender.name == OURS[1] else 2
    return tuple(f"n{number}" for number, _ in enumerate(nodes[:copies], 1))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Measure what sessions add to a request."
    )
    parser.add_argument(
        "--requests",
        type=_positive,
        default=REQUESTS,
        metavar="N",
        help="requests of each kind to each contender (default: %(default)s, about two minutes)",
    )
    parser.add_argument(
        "--browsers",
        type=_positive,
        default=1,
        metavar="N",
        help="sessions they are spread over (default: %(default)s); many make caches miss",
    )
    parser.add_argument(
        "--bad-attribute",
        action="store_true",
        help="measure instead what a save costs with one attribute that cannot be stored",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure there")
    parser.add_argument(
        "--profile",
        choices=[f"{cell.name}-{copies}" for cell in CELLS for copies in OURS],
        metavar="CELL",
        help="show what flask_msm spends its time on instead: one of %(choices)s",
    )
    parser.add_argument(
        "--habits",
        action="store_true",
        help="try what becomes of sessions of each kind instead (docs/limits.md)",
    )
    return parser.parse_args()


def _positive(text: str) -> int:
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        message = f"{text!r} is not a whole number above 0"
        raise argparse.ArgumentTypeError(message)
    return number


if __name__ == "__main__":
    sys.exit(main())
