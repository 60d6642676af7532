"""``python -m benchmarks --bad-attribute``: a save with one attribute that cannot be stored.

Ten attributes, two of which each request assigns: one gets a new value, the other one is a list
that holds a number, or a lock. What a request takes without any session is taken off.
"""

from __future__ import annotations

import gc
import statistics
import threading
from itertools import count
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import TYPE_CHECKING

from flask import Flask, session
from flask.sessions import NullSession, SessionInterface
from werkzeug.test import create_environ, run_wsgi_app

from flask_msm import MemcachedSessionManager
from harness.memcached import addresses


if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from flask import Request

    from harness.memcached import Memcached


ATTRIBUTES = 10
GOAL = 2.0
#: The first requests of each kind do not count.
WARM_UP = 50
POLICIES = ("local", "blacklist")

_numbers = count(1)
_LOCK = threading.Lock()


class _Nothing(SessionInterface):
    """Keeps nothing."""

    def open_session(self, app: Flask, request: Request) -> NullSession:  # noqa: ARG002
        return _Settable()

    def save_session(self, *_: object) -> None:
        pass


class _Settable(NullSession):
    __setitem__ = dict.__setitem__  # type: ignore[assignment]


def compare(nodes: Sequence[Memcached], rounds: int) -> str:
    """Return what a save costs with a bad attribute and without.

    Args:
        nodes: The cluster.
        rounds: How many requests of each kind.
    """
    bare = _application()
    bare.session_interface = _Nothing()
    lines = []
    for policy in POLICIES:
        app = _application()
        folder = TemporaryDirectory(prefix="flask_msm-bench-")
        app.config.update(
            MSM_NODES=addresses(nodes),
            MSM_LOCAL_DIR=folder.name,
            MSM_KEY_PREFIX=f"bench:{policy}:",
            MSM_SERIALIZATION_POLICY=policy,
            MSM_ADMIN=False,
        )
        manager = MemcachedSessionManager(app)
        try:
            cookie = _sent(app, "/first")
            kinds = {
                "none": _request(bare, "/good", ""),
                "good": _request(app, "/good", cookie),
                "bad": _request(app, "/bad", cookie),
            }
            took = _measure(kinds, rounds)
        finally:
            manager.close(app)
            folder.cleanup()
        good, bad = took["good"] - took["none"], took["bad"] - took["none"]
        lines.append(
            f"policy {policy:<10} a save {good * 1e6:4.0f} microseconds, with one bad attribute of"
            f" {ATTRIBUTES} {bad * 1e6:4.0f}: {bad / good:.2f} times (goal: at most {GOAL:.0f})"
        )
    return "\n".join(lines)


def _application() -> Flask:
    app = Flask("bench-bad")
    app.config["SECRET_KEY"] = "only for measuring"  # noqa: S105

    @app.get("/first")
    def first() -> str:
        session.update({f"a{number}": [number, "text"] for number in range(ATTRIBUTES)})
        return ""

    @app.get("/good")
    def good() -> str:
        session["a0"] = next(_numbers)
        session["a9"] = [1, {"lock": 7}]
        return ""

    @app.get("/bad")
    def bad() -> str:
        session["a0"] = next(_numbers)
        session["a9"] = [1, {"lock": _LOCK}]
        return ""

    return app


def _sent(app: Flask, path: str) -> str:
    """Return the cookie an answer sends."""
    _, _, headers = run_wsgi_app(app, create_environ(path))
    return headers["Set-Cookie"].partition(";")[0]


def _request(app: Flask, path: str, cookie: str) -> Callable[[], None]:
    environ = create_environ(path, headers={"Cookie": cookie})

    def request() -> None:
        body, status, _ = run_wsgi_app(app, environ.copy())
        if not status.startswith("200"):
            raise RuntimeError(b"".join(body).decode())

    return request


def _measure(kinds: dict[str, Callable[[], None]], rounds: int) -> dict[str, float]:
    """Return the median time of each kind, seconds; they take turns."""
    took: dict[str, list[float]] = {name: [] for name in kinds}
    gc.collect()
    gc.disable()
    try:
        for _ in range(rounds + WARM_UP):
            for name, request in kinds.items():
                request()  # a worker runs one application: its code is in the caches
                began = perf_counter()
                request()
                took[name].append(perf_counter() - began)
    finally:
        gc.enable()
    return {name: statistics.median(found[WARM_UP:]) for name, found in took.items()}
