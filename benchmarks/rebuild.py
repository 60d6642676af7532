"""``python -m benchmarks.rebuild``: how quickly a node that comes back empty is filled again.

Three nodes are filled with sessions, one is restarted empty, and a worker rebuilds it: while no
request comes, and beside threads that send requests without a pause. Prints records copied in a
second, processor time of the worker for each of them, and what requests take beside it.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from contextlib import ExitStack
from statistics import median, quantiles
from typing import TYPE_CHECKING, NamedTuple

from flask import session

from flask_msm.testing.memcached import wait_until
from harness.filling import fill

from .contenders import keep_by_ours
from .nodes import MemcachedError, running
from .shapes import application, content_of
from .visitors import Visitor


if TYPE_CHECKING:
    from collections.abc import Sequence

    from flask import Flask

    from flask_msm import MemcachedSessionManager
    from flask_msm.cluster.events import Event, Events
    from harness.memcached import Memcached

NODES, BYTES, ATTRIBUTES = 3, 500, 6
_CONTENT = {name: value.encode() for name, value in content_of(ATTRIBUTES, BYTES).items()}
#: Time in seconds a rebuild may take.
PATIENCE = 600.0
MEMORY = ("-m", "2048", "-t", "4")


class Outcome(NamedTuple):
    """How one rebuild went.

    Attributes:
        copied: Records.
        seconds: From its begin to its end.
        processor: Processor time of the process, seconds.
        requests: What requests beside it took, seconds.
    """

    copied: int
    seconds: float
    processor: float
    requests: list[float]


def main() -> int:
    """Measure, print, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rebuild")
    parser.add_argument("--sessions", type=int, default=30_000, metavar="N")
    parser.add_argument("--threads", type=int, default=4, metavar="N", help="that send requests")
    arguments = parser.parse_args()
    try:
        for threads in (0, arguments.threads):
            with ExitStack() as closing:
                nodes = closing.enter_context(running(NODES, options=MEMORY))
                app = application("rebuild")
                ports = [node.port for node in nodes]
                manager = keep_by_ours(
                    app, ports, closing, MSM_PROBE_INTERVAL=0.5, MSM_KEY_PREFIX="rebuild:"
                )
                _print(
                    arguments.sessions,
                    threads,
                    *_measured(app, manager, nodes, arguments.sessions, threads),
                )
    except MemcachedError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _measured(
    app: Flask,
    manager: MemcachedSessionManager,
    nodes: Sequence[Memcached],
    sessions: int,
    threads: int,
) -> tuple[list[float], Outcome]:
    """Return what requests take without a rebuild, and how the rebuild went."""

    @app.get("/")
    def visit() -> str:
        session["seen"] = True
        return str(session.get("name"))

    Visitor(app, "/").request()
    manager.check(app, timeout=30.0)
    fill(manager, app, map(str, range(sessions)), _CONTENT)
    over = threading.Event()
    taken: list[list[float]] = [[] for _ in range(threads)]
    browsers = [
        threading.Thread(target=_browse, args=(app, times, over), daemon=True) for times in taken
    ]
    for browser in browsers:
        browser.start()
    time.sleep(1.0 if threads else 0.0)
    alone = [one for times in taken for one in times]
    for times in taken:
        times.clear()
    nodes[0].restart()
    events = manager.state(app).parts.events
    used = time.process_time()
    wait_until(lambda: bool(_finished(events)), "the end of the rebuild", PATIENCE)
    used = time.process_time() - used
    over.set()
    for browser in browsers:
        browser.join()
    copied, seconds = _figures(_finished(events)[0].text)
    return alone, Outcome(copied, seconds, used, [one for times in taken for one in times])


def _finished(events: Events) -> list[Event]:
    return [one for one in events.newest() if one.kind == "rebuild_finished"]


def _browse(app: Flask, times: list[float], over: threading.Event) -> None:
    visitor = Visitor(app, "/")
    while not over.is_set():
        times.append(visitor.request())


def _figures(text: str) -> tuple[int, float]:
    words = text.split()
    return int(words[words.index("records") - 1]), float(words[-2])


def _print(sessions: int, threads: int, alone: list[float], outcome: Outcome) -> None:
    rate = outcome.copied / max(outcome.seconds, 0.1)
    each = max(outcome.processor, 1e-6) / max(outcome.copied, 1) * 1e6
    print(
        f"{sessions:,} sessions, {threads} busy threads: {outcome.copied:,} copied in"
        f" {outcome.seconds:.1f} s, {rate:,.0f} a second"
        + (
            f", {each:.0f} microseconds of processor each ({1e6 / each:,.0f} in a second of it)"
            if not threads
            else ""
        )
    )
    if alone and outcome.requests:
        p99 = [quantiles(times, n=100)[98] for times in (alone, outcome.requests)]
        print(
            f"  requests beside it: median {median(outcome.requests) / median(alone):.2f} times,"
            f" p99 {p99[1] / p99[0]:.2f} times what they take without"
        )


if __name__ == "__main__":
    sys.exit(main())
