"""How many calls of functions, of Python and of C, the package makes for one request.

Calls are what a request costs beside its round trips, and unlike time they can be counted on any
machine. The bounds are what was counted, and a few more.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, session

import flask_msm
from flask_msm import MemcachedSessionManager
from flask_msm.testing.memcached import wait_until


pytestmark = pytest.mark.memcached

OURS = str(Path(flask_msm.__file__).parent)
#: Every fourth read asks both homes, which is not counted: the cheapest of so many counts.
REQUESTS = 12


@pytest.fixture
def app(memcached: Callable[..., Any]) -> Iterator[Flask]:
    nodes = [memcached() for _ in range(3)]
    app = Flask(__name__)
    app.config.update(
        SECRET_KEY="calls " * 8,
        MSM_NODES=" ".join(f"n{n}:127.0.0.1:{node.port}" for n, node in enumerate(nodes)),
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
    """Return how many calls the package makes for a request to *path*."""
    client = app.test_client()
    client.get("/start")
    counts = []
    for _ in range(REQUESTS):
        count = 0

        def note(frame: Any, event: str, _: object) -> None:
            nonlocal count
            if event in {"call", "c_call"} and frame.f_code.co_filename.startswith(OURS):
                count += 1

        sys.setprofile(note)
        try:
            response = client.get(path)
        finally:
            sys.setprofile(None)
        assert response.status_code == 200
        counts.append(count)
    return min(counts)


@pytest.mark.parametrize(("path", "most"), [("/untouched", 24), ("/read", 163), ("/write", 550)])
def test_a_request_makes_no_more_calls_than_it_needs(app: Flask, path: str, most: int) -> None:
    assert calls(app, path) <= most
