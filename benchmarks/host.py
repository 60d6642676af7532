"""``python -m benchmarks.host``: what the files of a host cost its workers as they grow.

Real applications in one process stand for the workers of a host; no node answers, so all sessions
are changes that only this host has. Files opened and folders listed are counted by Python's audit
hooks, processor time is that of the thread: none of it depends on how busy the machine is.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from contextlib import ExitStack
from functools import partial
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from flask_msm import MemcachedSessionManager
from flask_msm.record.attributes import Attributes
from flask_msm.record.keys import storage_key
from flask_msm.record.record import Kind, Record
from flask_msm.storage.local.folder_stamp import SETTLED
from flask_msm.storage.local.sync_state import SyncState
from flask_msm.storage.local.trims import TRIM_EVERY

from .shapes import application


if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from flask_msm.application import Application

SESSIONS, WORKERS, TICKS = (0, 10_000, 50_000), 16, 5
ROOMY = 1024 * 1024 * 1024
LIFE = 3600.0
PREFIX = "host:"


class Audit:
    """Counts what this process asks of the file system."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        sys.addaudithook(self._note)

    def _note(self, event: str, _: tuple[Any, ...]) -> None:
        if event in {"open", "os.listdir", "os.scandir"}:
            self.counts[event] += 1

    def of(self, act: Callable[[], object]) -> tuple[float, int, int]:
        """Return the processor time of *act* in ms, files opened and folders listed."""
        self.counts.clear()
        began = time.thread_time()
        act()
        spent = time.thread_time() - began
        lists = self.counts["os.listdir"] + self.counts["os.scandir"]
        return spent * 1e3, self.counts["open"], lists


def main() -> int:
    """Measure, print, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.host", description=__doc__)
    parser.add_argument("--sessions", type=int, nargs="+", default=SESSIONS, metavar="N")
    parser.add_argument("--workers", type=int, default=WORKERS, metavar="N")
    arguments = parser.parse_args()
    audit = Audit()
    print(f"sessions kept by a host of {arguments.workers} workers; each: ms of processor,", end="")
    print(" files opened, folders listed")
    for sessions in arguments.sessions:
        with ExitStack() as closing:
            folder = closing.enter_context(TemporaryDirectory(prefix="flask_msm-bench-"))
            workers = [_worker(number, folder, closing) for number in range(arguments.workers)]
            for parts in workers:
                parts.local.settle()
            for number in range(sessions):
                _write(workers[0], number)
            rows = {
                "a trim": audit.of(workers[0].local.trim),
                "a minute of all workers": audit.of(partial(_minute, workers)),
                **_ticks(audit, workers[0], sessions),
            }
        for name, (spent, opened, listed) in rows.items():
            print(f"{sessions:7,}  {name:26} {spent:9.1f} {opened:8,} {listed:5,}", flush=True)
    return 0


def _worker(number: int, folder: str, closing: ExitStack) -> Application:
    app = application(f"worker-{number}")
    app.config.update(
        # No node listens there.
        MSM_NODES="n1:127.0.0.1:1",
        MSM_REPLICAS=1,
        MSM_LOCAL_DIR=folder,
        MSM_KEY_PREFIX=PREFIX,
        MSM_ADMIN=False,
        MSM_LOCAL_MAX_BYTES=ROOMY,
        MSM_LOCAL_MAX_SESSIONS=1_000_000,
    )
    app.root_path = folder
    manager = MemcachedSessionManager(app)
    closing.callback(manager.close, app)
    return manager.state(app).parts


def _write(parts: Application, number: int) -> None:
    now = time.time()
    record = Record(Kind.DATA, now, now, now + LIFE, 1, Attributes({"a": (1, bytes(300))}, {}, 0))
    parts.local.write(storage_key(PREFIX, f"{number:043}"), lambda _: record, SyncState.OUTAGE)


def _minute(workers: Sequence[Application]) -> None:
    """Let a minute be over, and each worker do what is due then."""
    shelf = workers[0].local.shelf
    assert shelf is not None  # noqa: S101  (sessions were written)
    assert shelf.place is not None  # noqa: S101  (into files)
    then = time.time() - TRIM_EVERY
    os.utime(shelf.place / "locks" / "trim", (then, then))
    for parts in workers:
        monotonic = parts.local.clock.monotonic
        vars(parts.local.clock)["monotonic"] = lambda now=monotonic: now() + TRIM_EVERY
        parts.local.trim_if_due()


def _ticks(audit: Audit, parts: Application, sessions: int) -> dict[str, tuple[float, int, int]]:
    cluster = parts.cluster
    assert cluster is not None  # noqa: S101  (there is a node)
    changing = []
    for number in range(sessions, sessions + TICKS):
        _write(parts, number)
        changing.append(audit.of(cluster.monitor.tick))
    _settle(parts)
    cluster.monitor.tick()
    quiet = [audit.of(cluster.monitor.tick) for _ in range(TICKS)]
    return {"a tick while some change": _middle(changing), "a tick while none does": _middle(quiet)}


def _settle(parts: Application) -> None:
    """Let all folders have changed so long ago that their times are relied on."""
    shelf = parts.local.shelf
    assert shelf is not None  # noqa: S101  (sessions were written)
    assert shelf.place is not None  # noqa: S101  (into files)
    then = time.time() - SETTLED - 1
    for folder, _, _ in os.walk(shelf.place):
        os.utime(folder, (then, then))


def _middle(rows: Sequence[tuple[float, int, int]]) -> tuple[float, int, int]:
    spent, opened, listed = (median(column) for column in zip(*rows, strict=True))
    return spent, int(opened), int(listed)


if __name__ == "__main__":
    sys.exit(main())
