"""``python -m benchmarks.failback``: how quickly a host hands back what was changed in an outage.

Three nodes keep sessions, each of which was changed while none of them could be reached, so the
changes are in local storage only. The nodes come back: with what they had, or empty. Prints the
time until the cluster knows every change, and the processor time of the worker.
"""

from __future__ import annotations

import argparse
import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, NamedTuple

from flask_msm.record.attributes import Attributes
from flask_msm.record.keys import storage_key
from flask_msm.record.record import Kind, Record
from flask_msm.storage.local.sync_state import SyncState
from harness.filling import LIFE, VERSION, fill

from .contenders import PATIENCE, keep_by_ours
from .nodes import MemcachedError, running
from .shapes import application, content_of


if TYPE_CHECKING:
    from flask_msm.application import Application, Cluster

SESSIONS, NODES = 50_000, 3
BYTES, ATTRIBUTES = 300, 6
PREFIX = "failback:"
MEMORY = ("-m", "1024", "-t", "4")
#: The host keeps all of them.
ROOMY: dict[str, Any] = {
    "MSM_LOCAL_MAX_BYTES": 1024 * 1024 * 1024,
    "MSM_LOCAL_MAX_SESSIONS": 1_000_000,
}


class Spent(NamedTuple):
    """Time of the clock, and of the processor in this process, seconds."""

    wall: float
    processor: float


def main() -> int:
    """Measure, print, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.failback", description=__doc__)
    parser.add_argument("--sessions", type=int, default=SESSIONS, metavar="N")
    count = parser.parse_args().sessions
    try:
        for kept in (True, False):
            spent = _measured(count, kept=kept)
            print(
                f"{count:,} changed sessions, nodes that {'kept theirs' if kept else 'are empty'}:"
                f" {spent.wall:.1f} s, {count / spent.wall:,.0f} a second,"
                f" {spent.processor / count * 1e6:.0f} microseconds of processor each",
                flush=True,
            )
    except MemcachedError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _measured(count: int, *, kept: bool) -> Spent:
    """Return what it takes until the cluster knows *count* changes."""
    with ExitStack() as closing:
        nodes = closing.enter_context(running(NODES, options=MEMORY))
        app = application("failback")
        # No request comes, so no scheduler begins: ticks are done here.
        ports = [node.port for node in nodes]
        manager = keep_by_ours(app, ports, closing, MSM_KEY_PREFIX=PREFIX, **ROOMY)
        manager.check(app, timeout=PATIENCE)
        parts = manager.state(app).parts
        content = {name: text.encode() for name, text in content_of(ATTRIBUTES, BYTES).items()}
        sids = [f"{number:043}" for number in range(count)]
        if kept:
            fill(manager, app, sids, content)
        for sid in sids:
            _change(parts, storage_key(PREFIX, sid), content)
        cluster = parts.cluster
        assert cluster is not None  # noqa: S101  (there are nodes)
        return _handed_over(parts, cluster)


def _change(parts: Application, key: str, content: dict[str, bytes]) -> None:
    """Change one attribute of a session, on this host only."""
    now, newer = time.time(), VERSION + 1
    values: dict[str, tuple[int, bytes | None]] = {
        name: (VERSION, value) for name, value in content.items()
    }
    values["name001"] = newer, b"changed"
    record = Record(Kind.DATA, now, now, now + LIFE, newer, Attributes(values, {}, 0))
    parts.local.write(key, lambda _: record, SyncState.OUTAGE)


def _handed_over(parts: Application, cluster: Cluster) -> Spent:
    began, used = time.perf_counter(), time.process_time()
    while parts.local.dirty_count():
        cluster.monitor.failback.run()
    return Spent(time.perf_counter() - began, time.process_time() - used)


if __name__ == "__main__":
    sys.exit(main())
