"""Applications whose session has a given size and number of attributes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Flask, session

from .contenders import NoSessions
from .visitors import Visitor


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

#: The kinds of request.
ACTS = ("read", "write")


def content_of(attributes: int, size: int) -> dict[str, str]:
    """Return so many attributes that together have *size* bytes, about."""
    each = max(1, size // attributes)
    return {f"name{number:03}": "x" * each for number in range(attributes)}


def application(name: str) -> Flask:
    """Return an application without views."""
    app = Flask(name, static_folder=None)
    app.secret_key = "only for measuring"  # noqa: S105
    return app


def add_views(app: Flask, content: Mapping[str, str]) -> None:
    """Have *app* open a session with *content*, read one attribute and change one."""
    real = not isinstance(app.session_interface, NoSessions)
    numbers = iter(range(10**9))

    def first() -> str:
        session.update(content)
        return "ok"

    def read() -> str:
        if real and not session["name000"]:
            message = "this is not the session that was stored"
            raise LookupError(message)
        return "ok"

    def write() -> str:
        if real:
            session["name001"] = f"{next(numbers):08d}"
        return "ok"

    for view in (first, read, write):
        app.add_url_rule(f"/{view.__name__}", view.__name__, view)


def visits(app: Flask, act: str) -> Callable[[int], float]:
    """Return the request of a browser that got its session by a first request."""
    cookie = ""
    if not isinstance(app.session_interface, NoSessions):
        newcomer = Visitor(app, "/first")
        newcomer.request()
        cookie = newcomer.cookie
    visitor = Visitor(app, f"/{act}", cookie)
    return lambda _: visitor.request()
