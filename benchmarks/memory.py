"""``python -m benchmarks.memory``: what a worker grows by when it has seen many sessions."""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from flask import Flask, session

from flask_msm import MemcachedSessionManager
from harness.memcached import addresses

from .nodes import MemcachedError, running


if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.memcached import Memcached


SESSIONS = 100_000
#: Most growth with the filesystem cache, MB.
GOAL = 50.0
#: Sessions the memory of a process may keep; it has to stop growing there.
KEPT = 10_000
#: What it may still grow by once it keeps so many, MB.
SLACK = 10.0
#: Sessions before the first look: what is imported and opened at first use is no growth.
WARM_UP = 1000
CART = {"items": ["apple", "pear"], "total": 250}


class Growth(NamedTuple):
    """How much memory a worker took on, MB.

    Attributes:
        early: After as many sessions as ``KEPT`` and half of it again.
        late: After all of them.
    """

    early: float
    late: float


def main() -> int:
    """Measure, print, and return the exit status: 1 if a bound is not kept."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__)
    parser.add_argument("--sessions", type=int, default=SESSIONS, metavar="N")
    count = max(parser.parse_args().sessions, WARM_UP + 2 * KEPT)
    try:
        with running(2) as nodes, tempfile.TemporaryDirectory() as folder:
            files = _in_a_process(nodes, folder, "filesystem", count)
            memory = _in_a_process(nodes, folder, "simple", count)
    except MemcachedError as error:
        print(error, file=sys.stderr)
        return 1
    print(
        f"memory of one worker after {count:,} sessions: {files.late:+.1f} MB with filesystem"
        f" (goal: below {GOAL:.0f}); {memory.late:+.1f} MB with simple and"
        f" MSM_LOCAL_MAX_SESSIONS={KEPT}, {memory.late - memory.early:+.1f} MB of it after"
        f" {_early():,} (goal: below {SLACK:.0f})"
    )
    return int(files.late >= GOAL or memory.late - memory.early >= SLACK)


def _in_a_process(nodes: Sequence[Memcached], folder: str, cache: str, count: int) -> Growth:
    """Measure in a process of its own: what one takes on it does not give back."""
    config: dict[str, object] = {
        "SECRET_KEY": "benchmark",
        "MSM_NODES": addresses(nodes),
        "MSM_LOCAL_CACHE": cache,
        "MSM_LOCAL_DIR": folder,
    }
    if cache == "simple":
        config["MSM_LOCAL_MAX_SESSIONS"] = KEPT
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(_grow, (config, count))


def _grow(config: dict[str, object], count: int) -> Growth:
    app = Flask("memory")
    app.config.update(config)
    manager = MemcachedSessionManager(app)

    @app.get("/")
    def visit() -> str:
        session["cart"] = CART
        return "ok"

    client = app.test_client(use_cookies=False)

    def see(number: int) -> float:
        for _ in range(number):
            client.get("/").close()
        for background in manager.state(app).parts.backgrounds:
            background.flush(60.0)
        gc.collect()
        return _resident()

    try:
        before = see(WARM_UP)
        early = see(_early() - WARM_UP)
        late = see(count - _early())
    finally:
        manager.close(app)
    return Growth(early - before, late - before)


def _early() -> int:
    return KEPT + KEPT // 2


def _resident() -> float:
    """Return how much memory this process has, MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


if __name__ == "__main__":
    sys.exit(main())
