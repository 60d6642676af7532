"""The same application six times, each with another way to keep sessions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flask import Flask, session
from flask.sessions import NullSession, SessionInterface
from pymemcache.client.base import Client

from flask_msm import MemcachedSessionManager

from .cells import CELLS, CONTENT, Cell, nothing
from .nodes import HOST


if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import ExitStack

    from flask import Request
    from flask.typing import ResponseReturnValue

    from .nodes import Node

try:
    from flask_session import Session as FlaskSession
except ModuleNotFoundError as error:
    advice = "Flask-Session is not installed: use `make bench`, or `pip install --group bench`."
    raise SystemExit(advice) from error


@dataclass(frozen=True, slots=True)
class Contender:
    """One application.

    Attributes:
        name: In JSON and goals.
        label: In tables, two lines.
        app: The application.
        manager: Ours, if it is ours.
    """

    name: str
    label: tuple[str, str]
    app: Flask
    manager: MemcachedSessionManager | None = None


NONE, COOKIE, THEIRS, THEIRS_QUIET = "none", "flask", "flask-session", "flask-session-no-refresh"
OURS = {copies: f"ours-{copies}" for copies in (1, 2)}


def all_contenders(nodes: Sequence[Node], closing: ExitStack) -> list[Contender]:
    """Return every contender; what they open is closed by *closing*."""
    return [
        Contender(NONE, ("no sessions", "(in all)"), _without_sessions()),
        Contender(COOKIE, ("Flask", "cookie"), _application(COOKIE)),
        Contender(THEIRS, ("Flask-Session", "default"), _theirs(THEIRS, nodes, closing)),
        Contender(
            THEIRS_QUIET,
            ("Flask-Session", "no refresh"),
            _theirs(THEIRS_QUIET, nodes, closing, SESSION_REFRESH_EACH_REQUEST=False),
        ),
        _ours(1, nodes, closing),
        _ours(2, nodes, closing),
    ]


class NoSessions(SessionInterface):
    """The least Flask asks for."""

    _session = NullSession()

    def open_session(self, app: Flask, request: Request) -> NullSession:
        """Return the one session that is none; Flask does not save it."""
        del app, request
        return self._session


def _without_sessions() -> Flask:
    app = _application(NONE, lambda _: nothing)
    app.session_interface = NoSessions()
    return app


def _theirs(name: str, nodes: Sequence[Node], closing: ExitStack, **config: Any) -> Flask:
    """Return Flask-Session as it is by default, on the fastest set-up of pymemcache.

    Only its sessions are not permanent unless the application says so, as everybody else's.
    """
    client = Client((HOST, nodes[0].port), no_delay=True)
    closing.callback(client.close)
    app = _application(name)
    app.config.update(
        SESSION_TYPE="memcached", SESSION_MEMCACHED=client, SESSION_PERMANENT=False, **config
    )
    FlaskSession(app)
    return app


def _ours(copies: int, nodes: Sequence[Node], closing: ExitStack) -> Contender:
    app = _application(OURS[copies])
    app.config.update(
        MSM_NODES=[f"{node.id}:{HOST}:{node.port}" for node in nodes], MSM_REPLICAS=copies
    )
    manager = MemcachedSessionManager(app)
    closing.callback(manager.close, app)
    label = "one copy" if copies == 1 else "two copies"
    return Contender(OURS[copies], ("flask_msm", label), app, manager)


def _act(cell: Cell) -> Callable[[], None]:
    return cell.act


def _application(name: str, act: Callable[[Cell], Callable[[], None]] = _act) -> Flask:
    app = Flask(f"bench-{name}", static_folder=None)
    app.secret_key = "only for measuring"  # noqa: S105

    @app.get("/first/<cell>")
    def first(cell: str) -> ResponseReturnValue:
        session.update(CONTENT)
        if next(one for one in CELLS if one.name == cell).permanent:
            session.permanent = True
        return "ok"

    for cell in CELLS:
        app.add_url_rule(f"/{cell.name}", cell.name, _view(act(cell)))
    return app


def _view(act: Callable[[], None]) -> Callable[[], ResponseReturnValue]:
    def view() -> ResponseReturnValue:
        act()
        return "ok"

    return view
