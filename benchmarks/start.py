"""``python -m benchmarks.start``: whether many workers may start at once on nodes without memory.

Real applications, in a few processes, begin at the same moment, each with ticks of its own. No node
fails, so none may be taken for one that fails: events that say so are counted, and the row is red.
Prints the time until every worker uses all nodes, and what that took.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections import Counter
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, NamedTuple

from flask_msm.cluster.mode import Mode
from flask_msm.testing.memcached import wait_until

from .contenders import keep_by_ours
from .nodes import MemcachedError, running
from .shapes import application


if TYPE_CHECKING:
    from collections.abc import Sequence
    from multiprocessing.connection import Connection

    from flask_msm.application import Application

#: Workers, and nodes.
FLEETS = ((100, 3), (300, 3), (300, 10))
PROCESSES = 6
#: Time in seconds until all of them use all nodes, and for which they are watched behind that.
PATIENCE, WATCHED = 120.0, 20.0
OPTIONS = ("-m", "64", "-t", "1", "-c", "20000")
#: One machine is the fleet: a node that answers late was not scheduled. Times in seconds.
CONFIG: dict[str, Any] = {
    "MSM_PROBE_INTERVAL": 5.0,
    "MSM_KEY_PREFIX": "start:",
    "MSM_MIRROR": False,
    "MSM_ADMIN": False,
    "MSM_TIMEOUT": 8.0,
    "MSM_CONNECT_TIMEOUT": 8.0,
    "MSM_REQUEST_DEADLINE": 8.0,
}
#: Events of a worker that takes a node for worse than it is.
WRONGED = ("mode_local", "node_down", "node_suspect", "node_lost_memory")


class Answer(NamedTuple):
    """What the workers of a process know.

    Attributes:
        ready: How many of them use all nodes.
        wronged: How often one took a node for worse than it is, by kind.
        processor: Time of the processor so far, seconds.
    """

    ready: int
    wronged: Counter[str]
    processor: float


def main() -> int:
    """Measure, print, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.start", description=__doc__)
    parser.add_argument("--fleets", default="", metavar="N:M,...", help="workers and nodes")
    arguments = parser.parse_args()
    chosen = [tuple(map(int, pair.split(":"))) for pair in arguments.fleets.split(",") if pair]
    wrong = 0
    try:
        for workers, nodes in chosen or FLEETS:
            wrong += _measured(workers, nodes)
    except MemcachedError as error:
        print(error, file=sys.stderr)
        return 1
    return min(wrong, 1)


def _measured(workers: int, count: int) -> int:
    """Print a row; return how often a worker took a node for worse than it is."""
    with ExitStack() as closing:
        nodes = closing.enter_context(running(count, options=OPTIONS))
        ports = [node.port for node in nodes]
        shares = [len(range(number, workers, PROCESSES)) for number in range(PROCESSES)]
        others = [_process(share, ports, closing) for share in shares if share]
        for other in others:
            other.recv()
        before = sum(_ask(other).processor for other in others)
        began = time.monotonic()
        for other in others:
            other.send("start")

        def all_ready() -> bool:
            return sum(_ask(other).ready for other in others) == workers

        wait_until(all_ready, "all workers to use all nodes", PATIENCE)
        taken = time.monotonic() - began
        end = time.monotonic() + WATCHED
        wait_until(lambda: time.monotonic() >= end, "some more ticks", 2 * WATCHED)
        answers = [_ask(other) for other in others]
        wronged = sum((one.wronged for one in answers), Counter[str]())
        spent = sum(one.processor for one in answers) - before
        stats = [node.stats() for node in nodes]
        lost, won = (sum(int(one[name]) for one in stats) for name in ("cas_badval", "cas_hits"))
        ready = sum(one.ready for one in answers)
        print(
            f"{workers:5} workers, {count:2} nodes: all use all after {taken:.1f} s, {ready} do"
            f" {WATCHED:.0f} s later; {spent / workers * 1e3:.0f} ms of processor for each;"
            f" {lost} of {lost + won} writes lost against another worker;"
            f" taken for worse than they are: {dict(wronged) or 'none'}",
            flush=True,
        )
        return wronged.total() + workers - ready


def _process(workers: int, ports: Sequence[int], closing: ExitStack) -> Connection:
    """Start a process of so many workers; return what to ask it by."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_work, args=(workers, ports, there), daemon=True)
    process.start()
    closing.callback(process.join)
    closing.callback(here.send, None)
    return here


def _work(workers: int, ports: Sequence[int], asked: Connection) -> None:
    """Be so many workers, and answer how they are."""
    with ExitStack() as closing:
        made = []
        for number in range(workers):
            app = application(f"worker-{number}")
            made.append((app, keep_by_ours(app, ports, closing, **CONFIG)))
        asked.send(None)
        while (what := asked.recv()) is not None:
            if what == "start":
                for app, manager in made:
                    manager.start(app)
            else:
                asked.send(_answer([manager.state(app).parts for app, manager in made]))


def _ask(other: Connection) -> Answer:
    other.send("how far")
    answer: Answer = other.recv()
    return answer


def _answer(workers: Sequence[Application]) -> Answer:
    kinds = [event.kind for parts in workers for event in parts.events.newest()]
    wronged = Counter(kind for kind in kinds if kind in WRONGED)
    return Answer(sum(map(_is_ready, workers)), wronged, time.process_time())


def _is_ready(parts: Application) -> bool:
    cluster = parts.cluster
    assert cluster is not None  # noqa: S101  (there are nodes)
    membership = cluster.membership
    views = membership.table.view().values()
    return membership.mode.mode is Mode.DISTRIBUTED and all(view.rights.alone for view in views)


if __name__ == "__main__":
    sys.exit(main())
