"""``python -m benchmarks.failback``: how quickly a host hands back what was changed in an outage.

Three nodes keep sessions, each of which was changed while none of them could be reached, so the
changes are in local storage only. The nodes come back: with what they had, or empty. Prints the
time until the cluster knows every change, and the processor time of all workers.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from contextlib import ExitStack
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

from flask_msm import MemcachedSessionManager
from flask_msm.record.attributes import Attributes
from flask_msm.record.keys import storage_key
from flask_msm.record.record import Kind, Record
from flask_msm.storage.local.sync_state import SyncState
from harness.filling import LIFE, VERSION, fill
from harness.processes import HOST

from .contenders import PATIENCE
from .nodes import MemcachedError, memory, running
from .shapes import application, content_of


if TYPE_CHECKING:
    from collections.abc import Sequence
    from multiprocessing.connection import Connection

    from flask import Flask

    from flask_msm.application import Application

SESSIONS, NODES = 50_000, 3
#: Workers of the host, and whether the nodes kept what they had.
ROWS = (1, True), (1, False), (4, True), (4, False)
BYTES, ATTRIBUTES = 300, 6
PREFIX = "failback:"
MEMORY = ("-m", "1024", "-t", "4")
#: Time in seconds between two looks at what is left; ticks are further apart.
PAUSE = 0.1
#: The host keeps all of them.
ROOMY: dict[str, Any] = {
    "MSM_LOCAL_MAX_BYTES": 1024 * 1024 * 1024,
    "MSM_LOCAL_MAX_SESSIONS": 1_000_000,
}


class Row(NamedTuple):
    """What is measured.

    Attributes:
        sessions: That were changed.
        workers: Processes of the host.
        kept: Whether the nodes have what they had.
    """

    sessions: int
    workers: int
    kept: bool


class Spent(NamedTuple):
    """Time of the clock, and of the processor in all workers, seconds."""

    wall: float
    processor: float


def main() -> int:
    """Measure, print, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.failback", description=__doc__)
    parser.add_argument("--sessions", type=int, default=SESSIONS, metavar="N")
    count = parser.parse_args().sessions
    try:
        for workers, kept in ROWS:
            row = Row(count, workers, kept)
            spent = _measured(row)
            print(
                f"{count:,} changed sessions, {workers} workers,"
                f" nodes that {'kept theirs' if kept else 'are empty'}:"
                f" {spent.wall:.1f} s, {count / spent.wall:,.0f} a second,"
                f" {spent.processor / count * 1e6:.0f} microseconds of processor each",
                flush=True,
            )
    except MemcachedError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _measured(row: Row) -> Spent:
    """Return what it takes until the cluster knows all changes."""
    with ExitStack() as closing:
        nodes = closing.enter_context(running(NODES, options=MEMORY))
        ports = [node.port for node in nodes]
        folder = closing.enter_context(TemporaryDirectory(prefix="flask_msm-bench-", dir=memory()))
        app, manager = _worker(ports, folder, closing)
        others = [_process(ports, folder, closing) for _ in range(row.workers - 1)]
        parts = manager.state(app).parts
        cluster = parts.cluster
        assert cluster is not None  # noqa: S101  (there are nodes)
        for other in others:
            # A worker that does not tick would be missed by the others.
            while not other.poll(PAUSE):
                cluster.monitor.tick()
            other.recv()
        content = {name: text.encode() for name, text in content_of(ATTRIBUTES, BYTES).items()}
        sids = [f"{number:043}" for number in range(row.sessions)]
        if row.kept:
            fill(manager, app, sids, content)
        for sid in sids:
            _change(parts, storage_key(PREFIX, sid), content)
        began, used = time.perf_counter(), time.process_time()
        for other in others:
            other.send("hand over")
        _hand_over(parts)
        elsewhere = sum(other.recv() for other in others)
        return Spent(time.perf_counter() - began, time.process_time() - used + elsewhere)


def _worker(
    ports: Sequence[int], folder: str, closing: ExitStack
) -> tuple[Flask, MemcachedSessionManager]:
    """Return a worker of the host that trusts its nodes; no request comes, so it ticks no more."""
    app = application("failback")
    app.config.update(
        MSM_NODES=[f"n{number}:{HOST}:{port}" for number, port in enumerate(ports, 1)],
        MSM_LOCAL_DIR=folder,
        MSM_KEY_PREFIX=PREFIX,
        **ROOMY,
    )
    # All are workers of one application.
    app.root_path = folder
    manager = MemcachedSessionManager(app)
    closing.callback(manager.close, app)
    manager.check(app, timeout=PATIENCE)
    return app, manager


def _process(ports: Sequence[int], folder: str, closing: ExitStack) -> Connection:
    """Start one more worker of the host; return what to ask it by."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_work, args=(ports, folder, there), daemon=True)
    process.start()
    closing.callback(process.join)
    return here


def _work(ports: Sequence[int], folder: str, asked: Connection) -> None:
    """Hand over with others, and answer with the processor time of that, seconds."""
    with ExitStack() as closing:
        app, manager = _worker(ports, folder, closing)
        asked.send(None)
        asked.recv()
        used = time.process_time()
        _hand_over(manager.state(app).parts)
        asked.send(time.process_time() - used)


def _change(parts: Application, key: str, content: dict[str, bytes]) -> None:
    """Change one attribute of a session, on this host only."""
    now, newer = time.time(), VERSION + 1
    values: dict[str, tuple[int, bytes | None]] = {
        name: (VERSION, value) for name, value in content.items()
    }
    values["name001"] = newer, b"changed"
    record = Record(Kind.DATA, now, now, now + LIFE, newer, Attributes(values, {}, 0))
    parts.local.write(key, lambda _: record, SyncState.OUTAGE)


def _hand_over(parts: Application) -> None:
    cluster = parts.cluster
    assert cluster is not None  # noqa: S101  (there are nodes)
    while parts.local.dirty_count():
        cluster.monitor.failback.run()
        # Others may be at the rest.
        time.sleep(PAUSE)


if __name__ == "__main__":
    sys.exit(main())
