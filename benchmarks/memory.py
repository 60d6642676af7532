"""``python -m benchmarks.memory``: what a worker grows by when it has seen many sessions.

The nodes are filled without requests; a worker in a process of its own gets the cookie of one
session after the other, and reads it by a request.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import os
import sys
import tempfile
import time
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from flask import Flask, session

from flask_msm import MemcachedSessionManager
from flask_msm.record.codec.msgpack import MsgpackCodec
from flask_msm.record.token import Token, signer_for
from flask_msm.settings.secret_keys import secrets_of
from flask_msm.testing.memcached import wait_until
from harness.filling import VERSION, fill
from harness.memcached import addresses

from .nodes import MemcachedError, memory, running
from .visitors import Visitor


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from flask.typing import ResponseReturnValue

    from harness.memcached import Memcached


SESSIONS = 100_000
#: Most growth with the filesystem cache, MB.
GOAL = 50.0
#: Sessions the memory of a process may keep; it has to stop growing there.
KEPT = 10_000
#: After so many the first look at a process that keeps sessions in its memory, and the last one.
FULL, LAST = KEPT + KEPT // 2, 3 * KEPT
#: What it may still grow by once it keeps so many, MB.
SLACK = 10.0
#: Sessions before the first look: what is imported and opened at first use is no growth.
WARM_UP = 1000
#: So many sessions are read before what is done behind the responses is waited for: no more
#: of them may wait to be copied to the host.
BATCH = 500
CART = {"items": ["apple", "pear"], "total": 250}
#: The nodes never evict: a session takes less than 500 bytes in each of two nodes.
MEMORY = ("-m", "1024", "-t", "4")


class Growth(NamedTuple):
    """How much memory a worker took on, MB.

    Attributes:
        early: At the first look.
        late: After all sessions.
    """

    early: float
    late: float


def main() -> int:
    """Measure, print, and return the exit status: 1 if a bound is not kept."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory")
    parser.add_argument("--sessions", type=int, default=SESSIONS, metavar="N")
    count = max(parser.parse_args().sessions, WARM_UP + LAST)
    try:
        with (
            running(2, options=MEMORY) as nodes,
            tempfile.TemporaryDirectory(dir=memory()) as folder,
        ):
            cookies = Path(folder, "cookies")
            _fill(nodes, Path(folder), count, cookies)
            files = _in_a_process(nodes, Path(folder), "filesystem", cookies, count)
            simple = _in_a_process(nodes, Path(folder), "simple", cookies, LAST)
    except MemcachedError as error:
        print(error, file=sys.stderr)
        return 1
    print(
        f"memory of one worker after {count:,} sessions: {files.late:+.1f} MB with filesystem"
        f" (goal: below {GOAL:.0f}); {simple.late:+.1f} MB after {LAST:,} with simple and"
        f" MSM_LOCAL_MAX_SESSIONS={KEPT}, {simple.late - simple.early:+.1f} MB of it after"
        f" {FULL:,} (goal: below {SLACK:.0f})"
    )
    return int(files.late >= GOAL or simple.late - simple.early >= SLACK)


def _in_a_process(
    nodes: Sequence[Memcached], folder: Path, cache: str, cookies: Path, count: int
) -> Growth:
    """Measure in a process of its own: what one takes on it does not give back."""
    config = _config(nodes, folder, cache)
    if cache == "simple":
        config["MSM_LOCAL_MAX_SESSIONS"] = KEPT
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(_grow, (config, cookies, count))


def _fill(nodes: Sequence[Memcached], folder: Path, count: int, cookies: Path) -> None:
    """Put so many sessions onto *nodes*, and write down their cookies."""
    with _worker(_config(nodes, folder, "simple")) as (manager, app), cookies.open("w") as file:
        sids = [f"{number:043}" for number in range(count)]
        fill(manager, app, sids, {"cart": MsgpackCodec().dumps(CART)})
        signer = signer_for(secrets_of(app))
        name, now = app.config["SESSION_COOKIE_NAME"], int(time.time())
        for sid in sids:
            file.write(f"{name}={signer.dumps(Token(sid, VERSION, now))}\n")


def _grow(config: dict[str, object], cookies: Path, count: int) -> Growth:
    with _worker(config) as (manager, app), cookies.open() as file:
        visitor = Visitor(app, "/")

        def see(some: Iterable[str]) -> float:
            for number, cookie in enumerate(some, 1):
                visitor.cookie = cookie.rstrip()
                wait_until(partial(_is_seen, visitor), "a session to be seen")
                if number % BATCH == 0:
                    for background in manager.state(app).parts.backgrounds:
                        background.flush(60.0)
            gc.collect()
            return _resident()

        before = see(islice(file, WARM_UP))
        early = see(islice(file, FULL - WARM_UP))
        late = see(islice(file, count - FULL))
    return Growth(early - before, late - before)


def _is_seen(visitor: Visitor) -> bool:
    """Return whether its session was read; a machine that is busy may be too slow for that."""
    try:
        visitor.request()
    except RuntimeError:
        return False
    return True


def _config(nodes: Sequence[Memcached], folder: Path, cache: str) -> dict[str, object]:
    return {
        "SECRET_KEY": "benchmark",
        "MSM_NODES": addresses(nodes),
        "MSM_LOCAL_CACHE": cache,
        "MSM_LOCAL_DIR": str(folder / "local"),
    }


@contextmanager
def _worker(config: dict[str, object]) -> Iterator[tuple[MemcachedSessionManager, Flask]]:
    app = Flask("memory")
    app.config.update(config)
    manager = MemcachedSessionManager(app)

    @app.get("/")
    def visit() -> ResponseReturnValue:
        return "ok" if "cart" in session else ("not seen", 503)

    try:
        yield manager, app
    finally:
        manager.close(app)


def _resident() -> float:
    """Return how much memory this process has, MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


if __name__ == "__main__":
    sys.exit(main())
