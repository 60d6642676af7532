"""The application that ``benchmarks.throughput`` has gunicorn serve, by its environment."""

from __future__ import annotations

import json
import os
from itertools import count

from flask import Flask, session
from pymemcache.client.base import PooledClient

from flask_msm import MemcachedSessionManager

from .cells import CONTENT


_pages = count(1)


def make_app() -> Flask:
    """Return the application with the sessions that ``SESSIONS`` names."""
    app = Flask("served", static_folder=None)
    settings = json.loads(os.environ["SETTINGS"])
    app.config.update(SECRET_KEY="only for measuring", **settings["config"])  # noqa: S106
    match os.environ["SESSIONS"]:
        case "flask":
            pass
        case "flask-session":
            _flask_session(app, settings["node"])
        case _:
            MemcachedSessionManager(app)

    @app.get("/first")
    def first() -> str:
        session.update(CONTENT)
        return "ok"

    @app.get("/read")
    def read() -> str:
        return "ok" if session["user_id"] and session["cart"][0]["count"] else "not ok"

    @app.get("/write")
    def write() -> str:
        session["last_page"] = f"/shelf/{next(_pages):08d}"
        return "ok"

    return app


def _flask_session(app: Flask, node: list[object]) -> None:
    """Use Flask-Session over a pool of connections, with time-outs as long as ours."""
    from flask_session import Session  # noqa: PLC0415  (not needed by the others)

    client = PooledClient(
        tuple(node), max_pool_size=8, connect_timeout=0.5, timeout=0.5, no_delay=True
    )
    app.config.update(SESSION_TYPE="memcached", SESSION_MEMCACHED=client, SESSION_PERMANENT=False)
    Session(app)
