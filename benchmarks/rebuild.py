"""``python -m benchmarks.rebuild``: how quickly a node that comes back empty is filled again.

Three nodes are filled with sessions, one is restarted empty, and workers rebuild it: one and four
while no request comes, one beside threads that send requests without a pause, and four a large node
beside people who click. Prints records copied in a second, and in a second of processor time of all
workers, and what requests take beside it.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import threading
import time
from contextlib import ExitStack
from statistics import median, quantiles
from typing import TYPE_CHECKING, Any, NamedTuple

from flask import session

from flask_msm.testing.memcached import wait_until
from harness.filling import fill

from .contenders import keep_by_ours
from .nodes import MemcachedError, running
from .shapes import application, content_of
from .visitors import Visitor


if TYPE_CHECKING:
    from collections.abc import Sequence
    from multiprocessing.connection import Connection

    from flask import Flask

    from flask_msm import MemcachedSessionManager
    from flask_msm.cluster.events import Events
    from harness.memcached import Memcached

NODES, BYTES, ATTRIBUTES = 3, 500, 6
_CONTENT = {name: value.encode() for name, value in content_of(ATTRIBUTES, BYTES).items()}
#: Time in seconds for which requests are counted before the node goes.
ALONE = 3.0
#: Time in seconds a rebuild may take.
PATIENCE = 600.0
MEMORY = ("-m", "2048", "-t", "4")
CONFIG: dict[str, Any] = {"MSM_PROBE_INTERVAL": 0.5, "MSM_KEY_PREFIX": "rebuild:"}


class Row(NamedTuple):
    """What is measured.

    Attributes:
        sessions: Two copies of each lie on three nodes.
        workers: Processes that rebuild.
        threads: In the first worker, that send requests.
        pause: Time in seconds between two requests of a thread.
    """

    sessions: int
    workers: int
    threads: int
    pause: float = 0.0


class Outcome(NamedTuple):
    """How one rebuild went.

    Attributes:
        copied: Records.
        seconds: From its begin to its end.
        processor: Processor time of all workers, seconds.
    """

    copied: int
    seconds: float
    processor: float


class Requests(NamedTuple):
    """What requests took, each in seconds.

    Attributes:
        before: While all nodes had their sessions.
        lacking: While one had lost its own, and was not rebuilt yet.
        beside: While it was rebuilt.
    """

    before: list[float]
    lacking: list[float]
    beside: list[float]


def main() -> int:
    """Measure, print, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rebuild")
    parser.add_argument("--sessions", type=int, metavar="N", help="one row of so many")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="of that row")
    parser.add_argument("--threads", type=int, default=0, metavar="N", help="that send requests")
    parser.add_argument("--pause", type=float, default=0.0, help="between two of a thread, seconds")
    arguments = parser.parse_args()
    rows = [
        Row(60_000, 1, 0),
        Row(60_000, 4, 0),
        Row(30_000, 1, 4),
        # A hundred thousand copies on each node.
        Row(150_000, 4, 6, pause=0.1),
    ]
    if arguments.sessions:
        rows = [Row(arguments.sessions, arguments.workers, arguments.threads, arguments.pause)]
    try:
        for row in rows:
            with ExitStack() as closing:
                nodes = closing.enter_context(running(NODES, options=MEMORY))
                app = application("rebuild")
                ports = [node.port for node in nodes]
                manager = keep_by_ours(app, ports, closing, **CONFIG)
                others = [_another(ports, closing) for _ in range(row.workers - 1)]
                _print(row, *_measured(row, app, manager, nodes, others))
    except MemcachedError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _another(ports: Sequence[int], closing: ExitStack) -> Connection:
    """Start one more worker; return what to ask it by."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_work, args=(ports, there), daemon=True)
    process.start()
    closing.callback(process.join)
    closing.callback(here.send, None)
    here.recv()
    return here


def _work(ports: Sequence[int], asked: Connection) -> None:
    """Be a worker, and answer with processor time and rebuilds that were finished."""
    with ExitStack() as closing:
        app = application("rebuild")
        manager = keep_by_ours(app, ports, closing, **CONFIG)
        manager.check(app, timeout=30.0)
        manager.start(app)
        asked.send(None)
        while asked.recv() is not None:
            asked.send((time.process_time(), _finished(manager.state(app).parts.events)))


def _ask(other: Connection) -> tuple[float, list[str]]:
    other.send("how far")
    found: tuple[float, list[str]] = other.recv()
    return found


def _measured(
    row: Row,
    app: Flask,
    manager: MemcachedSessionManager,
    nodes: Sequence[Memcached],
    others: Sequence[Connection],
) -> tuple[Requests, Outcome]:
    """Return what requests took meanwhile, and how the rebuild went."""

    @app.get("/")
    def visit() -> str:
        session["seen"] = True
        return str(session.get("name"))

    Visitor(app, "/").request()
    manager.check(app, timeout=30.0)
    fill(manager, app, map(str, range(row.sessions)), _CONTENT)
    over = threading.Event()
    taken: list[tuple[float, float]] = []
    browsers = [
        threading.Thread(target=_browse, args=(app, taken, over, row.pause), daemon=True)
        for _ in range(row.threads)
    ]
    for browser in browsers:
        browser.start()
    over.wait(ALONE if row.threads else 0)
    used = time.process_time() + sum(_ask(other)[0] for other in others)
    lost = time.monotonic()
    nodes[0].restart()
    events = manager.state(app).parts.events
    began: list[float] = []
    texts: list[str] = []

    def is_over() -> bool:
        if not began and any(one.kind == "rebuild_began" for one in events.newest()):
            began.append(time.monotonic())
        texts[:] = _finished(events) or [text for one in others for text in _ask(one)[1]]
        return bool(texts)

    wait_until(is_over, "the end of the rebuild", PATIENCE)
    used = time.process_time() + sum(_ask(other)[0] for other in others) - used
    over.set()
    for browser in browsers:
        browser.join()
    copied, seconds = _figures(texts[0])
    parted = Requests([], [], [])
    for at, took in taken:
        parted[(at >= lost) + bool(began and at >= began[0])].append(took)
    return parted, Outcome(copied, seconds, used)


def _finished(events: Events) -> list[str]:
    return [one.text for one in events.newest() if one.kind == "rebuild_finished"]


def _browse(
    app: Flask, taken: list[tuple[float, float]], over: threading.Event, pause: float
) -> None:
    """Note when each request began, and what it took, seconds."""
    visitor = Visitor(app, "/")
    while not over.wait(pause):
        at = time.monotonic()
        taken.append((at, visitor.request()))


def _figures(text: str) -> tuple[int, float]:
    words = text.split()
    return int(words[words.index("records") - 1]), float(words[-2])


def _print(row: Row, requests: Requests, outcome: Outcome) -> None:
    rate = outcome.copied / max(outcome.seconds, 0.1)
    each = outcome.copied / max(outcome.processor, 1e-6)
    kind = f"threads that pause {row.pause} s" if row.pause else "busy threads"
    print(
        f"{row.sessions:,} sessions, {row.workers} workers, {row.threads} {kind}:"
        f" {outcome.copied:,} copied in {outcome.seconds:.1f} s, {rate:,.0f} a second"
        # Requests take processor time as well.
        + (f", {each:,.0f} in a second of processor" if not row.threads else ""),
        flush=True,
    )
    for than, others in (
        ("what they take before it", requests.lacking),
        ("with all nodes", requests.before),
    ):
        if min(len(others), len(requests.beside)) > 1:
            p99 = [quantiles(times, n=100)[98] for times in (others, requests.beside)]
            p50 = median(requests.beside) / median(others)
            print(
                f"  requests beside it: median {p50:.2f}, p99 {p99[1] / p99[0]:.2f} times {than}",
                flush=True,
            )


if __name__ == "__main__":
    sys.exit(main())
