"""Workers as a test sees them: what they think of the nodes, and what others would see."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Literal, get_args

from flask import Flask, session

from flask_msm import MemcachedSessionManager


if TYPE_CHECKING:
    from flask.testing import FlaskClient
    from werkzeug.test import Cookie

    from flask_msm.extension import AppState


#: Most time in seconds for what is done behind responses.
PATIENCE = 10.0

Mode = Literal["distributed", "local", "stopped"]


def settle(app: Flask) -> None:
    """Wait for what *app* does behind its responses: copies on this host, and their return.

    Raises:
        ConfigError: It was not set up.
        AssertionError: That takes more than ten seconds.
    """
    for background in _state(app).parts.backgrounds:
        if not background.flush(PATIENCE):
            message = f"{app.name} was not done with its work behind responses in {PATIENCE} s"
            raise AssertionError(message)


def probe(app: Flask) -> None:
    """Let *app* probe its nodes now, share what it knows with the fleet, and settle.

    Raises:
        ConfigError: It was not set up.
        AssertionError: Its work behind that takes more than ten seconds.
    """
    cluster = _state(app).parts.cluster
    if cluster is not None:
        cluster.monitor.tick()
    settle(app)


def wait_for_mode(app: Flask, mode: Mode, *, timeout: float = 30.0) -> None:
    """Probe until *app* is in *mode*, and settle.

    Args:
        app: The application.
        mode: ``distributed``, ``local`` while no node can be written, or ``stopped``.
        timeout: Most time in seconds to wait.

    Raises:
        AssertionError: It is in another mode after that time.
        ValueError: There is no such mode.
    """
    if mode not in get_args(Mode):
        raise ValueError(f"mode is {mode!r}; allowed: {', '.join(get_args(Mode))}")
    state = _state(app)
    until = time.monotonic() + timeout
    while state.mode != mode:
        if time.monotonic() > until:
            raise AssertionError(f"waited {timeout} s for mode {mode!r}, it is {state.mode!r}")
        probe(app)
        time.sleep(0.01)
    settle(app)


def holders(client: FlaskClient) -> tuple[str, ...]:
    """Return ids of the nodes that hold the session of *client* now, its home nodes first.

    Nodes that do not answer are left out. Empty without a session.
    """
    state, cookie = _state(client.application), _cookie(client)
    if cookie is None:
        return ()
    found = state.console.lookup(cookie.value, actor="test", reason="flask_msm.testing")
    if found is None:
        return ()
    homes = [node_id for node_id in found.home_nodes if node_id in found.holders]
    return (*homes, *(node_id for node_id in found.holders if node_id not in homes))


def stored(client: FlaskClient) -> dict[str, Any]:
    """Return the session of *client* as a worker on another host would read it from the nodes.

    That worker has just been started and has seen nothing else: no memory of the application, and
    no local storage. Empty without a session, and when no node can be read.
    """
    source = client.application
    state = _state(source)
    worker = Flask(source.name)
    worker.config.update(source.config)
    worker.config.update(
        MSM_ADMIN=False,
        MSM_KEY_PREFIX=state.settings.key_prefix,
        MSM_LOCAL_CACHE="simple",
        MSM_PROBE_INTERVAL=0,
        # So that the cookie is sent to this worker, for any host and path.
        SERVER_NAME=None,
        TRUSTED_HOSTS=None,
        APPLICATION_ROOT="/",
    )
    manager = MemcachedSessionManager(
        worker, codec=state.repository.codec, interface=type(state.interface)
    )
    reader = worker.test_client()
    if cookie := _cookie(client):
        reader.set_cookie(cookie.key, cookie.value)
    found: dict[str, Any] = {}
    worker.add_url_rule("/", view_func=lambda: found.update(session) or "")
    try:
        reader.get("/").close()
    finally:
        manager.close(worker)
    return found


def same_browser(client: FlaskClient, other: FlaskClient) -> None:
    """Let *other* send the session cookie that *client* sends: a browser that changes workers.

    Args:
        client: A client that has the cookie.
        other: A client of another application, set up alike.
    """
    cookie = _cookie(client)
    while (old := _cookie(other)) is not None:
        other.delete_cookie(old.key, domain=old.domain, path=old.path)
    if cookie is not None:
        other.set_cookie(
            _cookie_name(other.application),
            cookie.value,
            domain=cookie.domain,
            origin_only=cookie.origin_only,
            path=cookie.path,
        )


def _cookie(client: FlaskClient) -> Cookie | None:
    """Return the session cookie of *client*, for any host and path."""
    name = _cookie_name(client.application)
    # A client shows a cookie only to who knows its domain and path.
    kept = client._cookies or {}  # noqa: SLF001
    return next((cookie for cookie in kept.values() if cookie.key == name), None)


def _cookie_name(app: Flask) -> str:
    """Return the name of the session cookie; a session interface of the application may choose."""
    return app.session_interface.get_cookie_name(app)


def _state(app: Flask) -> AppState:
    return MemcachedSessionManager().state(app)
