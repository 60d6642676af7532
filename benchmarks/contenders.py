"""The same application several times, each with another way to keep sessions."""

from __future__ import annotations

from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from flask import Flask, session
from flask.sessions import NullSession, SessionInterface
from pymemcache.client.base import Client

from flask_msm import MemcachedSessionManager
from harness.processes import HOST

from .cells import CELLS, CONTENT, Cell, nothing
from .nodes import memory
from .redis_server import redis


if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import ExitStack
    from ssl import SSLContext

    from flask import Request
    from flask.typing import ResponseReturnValue
    from redis import Redis

    from harness.memcached import Memcached


try:
    from flask_session import Session as FlaskSession
except ModuleNotFoundError as error:
    advice = "Flask-Session is not installed: use `make bench`, or `pip install --group bench`."
    raise SystemExit(advice) from error


#: Time in seconds until all nodes are trusted.
PATIENCE = 30.0


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

    def wait_ready(self) -> None:
        """Wait until the worker trusts its nodes, as it does but for the first few seconds."""
        if self.manager is not None and self.app.config["MSM_NODES"]:
            self.manager.check(self.app, timeout=PATIENCE)

    def settle(self) -> None:
        """Wait for what is done behind the responses."""
        if self.manager is not None:
            for background in self.manager.state(self.app).parts.backgrounds:
                background.flush(10.0)


NONE, COOKIE, THEIRS, THEIRS_QUIET = "none", "flask", "flask-session", "flask-session-no-refresh"
#: Flask-Session that waits for the answer to its ``set``, as ours does.
THEIRS_CONFIRMED = "flask-session-confirmed"
#: Flask-Session on Redis, which confirms what it stores.
THEIRS_REDIS = "flask-session-redis"
OURS = {copies: f"ours-{copies}" for copies in (1, 2)}
STICKY, LOCAL = "ours-sticky", "ours-local"


def all_contenders(nodes: Sequence[Memcached], closing: ExitStack) -> list[Contender]:
    """Return every contender; what they open is closed by *closing*.

    Flask-Session on Redis is one of them where ``redis-server`` is installed.
    """
    server = redis(closing)
    return [
        Contender(NONE, ("no sessions", "(in all)"), _without_sessions()),
        Contender(COOKIE, ("Flask", "cookie"), _application(COOKIE)),
        Contender(THEIRS, ("Flask-Session", "default"), _theirs(THEIRS, nodes, closing)),
        Contender(
            THEIRS_QUIET,
            ("Flask-Session", "no refresh"),
            _theirs(THEIRS_QUIET, nodes, closing, SESSION_REFRESH_EACH_REQUEST=False),
        ),
        Contender(
            THEIRS_CONFIRMED,
            ("Flask-Session", "confirmed"),
            _theirs(THEIRS_CONFIRMED, nodes, closing, confirmed=True),
        ),
        *([_on_redis(server)] if server else []),
        _ours(OURS[1], "one copy", nodes, closing, MSM_REPLICAS=1),
        _ours(OURS[2], "two copies", nodes, closing),
        _ours(STICKY, "sticky", nodes, closing, MSM_STICKY=True),
        _ours(LOCAL, "local", (), closing),
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


def _theirs(
    name: str,
    nodes: Sequence[Memcached],
    closing: ExitStack,
    *,
    confirmed: bool = False,
    **config: Any,
) -> Flask:
    """Return Flask-Session as it is by default, on the fastest set-up of pymemcache.

    Its sessions are not permanent unless the application asks for it, as those of the others.
    """
    app = _application(name)
    keep_by_theirs(app, [node.port for node in nodes], closing, confirmed=confirmed, **config)
    return app


def keep_by_theirs(
    app: Flask,
    ports: Sequence[int],
    closing: ExitStack,
    *,
    confirmed: bool = False,
    tls: SSLContext | None = None,
    **config: Any,
) -> None:
    """Have Flask-Session keep the sessions of *app* at the first of *ports*.

    As it comes it does not wait for the answer to what it stores; *confirmed*, it does.
    """
    client = Client((HOST, ports[0]), no_delay=True, default_noreply=not confirmed, tls_context=tls)
    closing.callback(client.close)
    app.config.update(
        SESSION_TYPE="memcached", SESSION_MEMCACHED=client, SESSION_PERMANENT=False, **config
    )
    FlaskSession(app)


def _on_redis(client: Redis) -> Contender:
    app = _application(THEIRS_REDIS)
    app.config.update(SESSION_TYPE="redis", SESSION_REDIS=client, SESSION_PERMANENT=False)
    FlaskSession(app)
    return Contender(THEIRS_REDIS, ("Flask-Session", "on Redis"), app)


def _ours(
    name: str, label: str, nodes: Sequence[Memcached], closing: ExitStack, **config: Any
) -> Contender:
    app = _application(name)
    manager = keep_by_ours(app, [node.port for node in nodes], closing, **config)
    return Contender(name, ("flask_msm", label), app, manager)


def keep_by_ours(
    app: Flask, ports: Sequence[int], closing: ExitStack, **config: Any
) -> MemcachedSessionManager:
    """Have flask_msm keep the sessions of *app*, which trusts its nodes when this returns."""
    folder = closing.enter_context(TemporaryDirectory(prefix="flask_msm-bench-", dir=memory()))
    app.config.update(
        MSM_NODES=[f"n{number}:{HOST}:{port}" for number, port in enumerate(ports, 1)],
        MSM_LOCAL_DIR=folder,
        **config,
    )
    manager = MemcachedSessionManager(app)
    closing.callback(manager.close, app)
    return manager


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
