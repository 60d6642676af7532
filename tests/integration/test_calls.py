"""How many calls of Python functions a session adds to a request: ours and those of libraries.

Calls are what a request costs beside its round trips, and unlike time they can be counted on any
machine. The bounds are what was counted, and very few more.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, session
from werkzeug.test import create_environ

from flask_msm import MemcachedSessionManager
from flask_msm.memcached.connection import Connection
from flask_msm.testing.memcached import wait_until
from scripts.calls import files_called
from scripts.house import calls_of


pytestmark = pytest.mark.memcached

#: Every fourth read asks both homes, which is not counted: the cheapest of so many counts.
REQUESTS = 12
#: Time in seconds after which workers know what is the quickest way of a write, on a busy machine.
SETTLED = 30.0


@pytest.fixture
def app(memcached: Callable[..., Any]) -> Iterator[Flask]:
    yield from made(memcached)


@pytest.fixture
def sticky(memcached: Callable[..., Any], tmp_path: Path) -> Iterator[Flask]:
    yield from made(memcached, MSM_STICKY=True, MSM_LOCAL_DIR=tmp_path)


def made(memcached: Callable[..., Any], **config: object) -> Iterator[Flask]:
    nodes = [memcached() for _ in range(3)]
    app = Flask(__name__)
    app.config.update(
        SECRET_KEY="calls " * 8,
        MSM_NODES=" ".join(f"n{n}:127.0.0.1:{node.port}" for n, node in enumerate(nodes)),
        **config,
    )
    manager = MemcachedSessionManager(app)

    @app.get("/start")
    def start() -> str:
        session.update(user="anna", number=0, cart=["apple", "pear"])
        return ""

    @app.get("/untouched")
    def untouched() -> str:
        return ""

    @app.get("/read")
    def read() -> str:
        return str(session["user"])

    @app.get("/write")
    def write() -> str:
        session["number"] += 1
        return ""

    with app.test_client() as client:
        client.get("/start")
    cluster = manager.state(app).parts.cluster
    assert cluster is not None
    wait_until(
        lambda: all(view.rights.alone for view in cluster.state.view().values()),
        "all nodes are trusted",
    )
    yield app
    manager.close(app)


def calls(app: Flask, path: str) -> int:
    """Return how many Python functions a request to *path* calls, seen from a server."""
    client = app.test_client()
    client.get("/start")
    cookie = client.get_cookie("session")
    headers = {"Cookie": f"session={cookie.value}"} if cookie else {}
    environ = create_environ(path, headers=headers)
    answers: list[str] = []

    def answer(status: str, _headers: Any, _error: Any = None) -> Any:
        answers.append(status)

    def ask() -> None:
        body = app.wsgi_app({**environ}, answer)
        b"".join(body)
        body.close()  # type: ignore[attr-defined]
        assert answers.pop() == "200 OK"

    return min(len(files_called(ask)) for _ in range(REQUESTS))


def least(count: Callable[[], int], enough: int) -> int:
    """Return the least of some counts; of one, if that is *enough*."""
    until, found = time.monotonic() + SETTLED, count()
    while found > enough and time.monotonic() < until:
        found = min(found, count())
    return found


@pytest.fixture(scope="module")
def bare() -> int:
    """How many functions a request without a session calls."""
    app = Flask(__name__)
    for path in ("/start", "/bare"):
        app.add_url_rule(path, path, lambda: "")
    return calls(app, "/bare")


@pytest.mark.parametrize(("path", "most"), [("/untouched", 4), ("/read", 35), ("/write", 80)])
def test_a_session_adds_no_more_calls_to_a_request_than_it_needs(
    app: Flask, bare: int, path: str, most: int
) -> None:
    assert least(lambda: calls(app, path) - bare, most) <= most


@pytest.mark.parametrize(("path", "most"), [("/read", 31), ("/write", 70)])
def test_a_sticky_session_adds_no_more_calls_to_a_request_than_it_needs(
    sticky: Flask, bare: int, path: str, most: int
) -> None:
    assert least(lambda: calls(sticky, path) - bare, most) <= most


def test_a_quiet_tick_calls_no_more_functions_of_ours_than_it_needs(app: Flask) -> None:
    cluster = app.extensions["msm"].parts.cluster

    def count() -> int:
        calls, _ = calls_of(cluster.monitor.tick)
        # None at all while the scheduler does a tick.
        return calls if calls > 100 else 10_000

    # With every third one a worker announces itself anew.
    assert least(count, 1080) <= 1080


def test_a_quiet_tick_asks_each_node_once_and_brings_its_report_to_two(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = app.extensions["msm"].parts.cluster
    sent: list[tuple[int, int]] = []
    send = Connection.send

    def counting(connection: Connection, data: bytes, until: float, now: float) -> None:
        sent.append((threading.get_ident(), connection.socket.getpeername()[1]))
        send(connection, data, until, now)

    monkeypatch.setattr(Connection, "send", counting)

    def counted() -> list[int]:
        sent.clear()
        cluster.monitor.tick()
        ports = Counter(port for thread, port in sent if thread == threading.get_ident())
        return sorted(ports.values())

    wait_until(lambda: counted() == [1, 3, 3], "a tick in which nothing changes")


def test_a_change_of_the_policy_calls_no_more_functions_of_ours_than_it_needs(app: Flask) -> None:
    console = app.extensions["msm"].console

    def change() -> None:
        console.set_policy("local", actor="anna", reason="", based_on=None)

    # 537 and 48 were measured, with the line for the audit log of every host; the entry of the
    # history is made behind. Each has its least: where a connection is made anew, three files
    # more take part in it.
    until, (calls, files) = time.monotonic() + SETTLED, calls_of(change)
    while (calls > 570 or files > 51) and time.monotonic() < until:
        calls, files = map(min, zip((calls, files), calls_of(change), strict=True))
    assert (calls <= 570, files <= 51) == (True, True), (calls, files)
