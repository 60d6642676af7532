"""A browser with one session, whose requests are timed."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any

from werkzeug.test import create_environ

from .contenders import NONE


if TYPE_CHECKING:
    from flask import Flask

    from .cells import Cell
    from .contenders import Contender

_ATTEMPTS = 1000


class Visitor:
    """Sends one kind of request, with the cookie it was given last, as browsers do.

    Args:
        app: Who is asked.
        path: For what.
        cookie: ``name=value``, empty without one.
    """

    def __init__(self, app: Flask, path: str, cookie: str = "") -> None:
        self.cookie = cookie
        self._path = path
        self._application = app.wsgi_app
        self._environ = create_environ(path, "http://shop.example/")
        self._status = ""
        self._headers: list[tuple[str, str]] = []

    def request(self) -> float:
        """Send a request; return the time in seconds until all of the response was there."""
        # Flask leaves things in it: each request has its own.
        environ: dict[str, Any] = dict(self._environ)
        if self.cookie:
            environ["HTTP_COOKIE"] = self.cookie
        began = perf_counter()
        body: Any = self._application(environ, self._start)
        for _ in body:
            pass
        body.close()
        seconds = perf_counter() - began
        self._look()
        return seconds

    def _start(self, status: str, headers: list[tuple[str, str]], *_: object) -> Any:
        self._status, self._headers = status, headers

    def _look(self) -> None:
        if not self._status.startswith("200"):
            message = f"{self._path} was answered with {self._status}"
            raise RuntimeError(message)
        for name, value in self._headers:
            if name == "Set-Cookie":
                self.cookie = value.partition(";")[0]


def newcomer(contender: Contender, cell: Cell, home: tuple[str, ...]) -> Visitor:
    """Return a visitor of *cell* who got a session from *contender* by a first request.

    Our sessions live where their ids send them. So that all visitors talk to the same memcached
    first, newcomers are sent away until one gets a session at *home*.
    """
    path = f"/{cell.name}"
    if contender.name == NONE:
        return Visitor(contender.app, path)
    for _ in range(_ATTEMPTS):
        first = Visitor(contender.app, f"/first/{cell.name}")
        first.request()
        if not first.cookie:
            break
        if contender.manager is None or _homes(contender, first.cookie) == home:
            return Visitor(contender.app, path, first.cookie)
    message = f"{contender.name} gave no session"
    raise RuntimeError(message)


def _homes(contender: Contender, cookie: str) -> tuple[str, ...]:
    """Return the nodes that are home to the session of *cookie*."""
    manager = contender.manager
    assert manager is not None  # noqa: S101  (the caller looked)
    with contender.app.test_request_context("/", headers={"Cookie": cookie}) as context:
        len(context.session)
        return manager.describe(context.session).home_nodes
