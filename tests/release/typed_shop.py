"""What a program that uses every public name looks like; type checkers find nothing in it.

It is not run: ``test_types.py`` shows it to them beside an installed wheel.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flask import Flask, Response, request, session
from flask.sessions import SessionMixin
from flask.testing import FlaskClient

import flask_msm
from flask_msm import (
    ConfigError,
    MemcachedSessionManager,
    MsmError,
    MsmSessionInterface,
    ReadOnlyError,
    SerializationError,
    Session,
    SessionInfo,
    SessionTooLargeError,
    SessionUnavailableError,
    destroy,
    read_only,
    regenerate,
)
from flask_msm.policies import Failure, Reraise, StoreNone, Verdict
from flask_msm.record.codec.msgpack import MsgpackCodec
from flask_msm.testing import (
    Node,
    Nodes,
    assert_serializable,
    holders,
    probe,
    same_browser,
    settle,
    stored,
    wait_for_mode,
)
from flask_msm_dashboard import basic_auth


codec = MsgpackCodec()


@codec.register_dataclass
@dataclass
class Address:
    """Something an application keeps in its session."""

    town: str


def policy(failure: Failure) -> Verdict:
    """Decide about an attribute that cannot be stored."""
    name: str | None = failure.attribute
    return StoreNone() if (name or "").startswith("debug_") else Reraise()


class Interface(MsmSessionInterface):
    """Sends no cookie to programs."""

    def should_set_cookie(self, app: Flask, session: SessionMixin) -> bool:
        """Return whether the response sets the cookie."""
        return not request.path.startswith("/api/") and super().should_set_cookie(app, session)

    def get_cookie_domain(self, app: Flask) -> str | None:
        """Return the domain of the cookie."""
        return super().get_cookie_domain(app)


msm = MemcachedSessionManager(codec=codec, policy=policy, interface=Interface)


def create_app(config: dict[str, Any] | None = None) -> Flask:
    """Return the application."""
    app = Flask(__name__)
    app.config["MSM_ADMIN_ACCESS"] = basic_auth({"ops": "a hash"})
    app.config.from_mapping(config or {})
    try:
        msm.init_app(app)
    except ConfigError as error:
        key: str = error.key
        raise SystemExit(key) from error
    app.register_error_handler(SessionUnavailableError, sorry)
    flask_msm.mode_changed.connect(on_mode, app)
    app.add_url_rule("/login/<name>", view_func=login, methods=["POST"])
    app.add_url_rule("/logout", view_func=logout, methods=["POST"])
    app.add_url_rule("/profile", view_func=profile)
    app.add_url_rule("/where", view_func=where)
    return app


def on_mode(sender: Flask, mode: str, **_: object) -> None:
    """Hear of a change."""
    sender.logger.info("mode %s", mode)


def sorry(error: SessionUnavailableError) -> tuple[str, int]:
    """Answer while the session is unknown."""
    return str(error), 503


def login(name: str) -> str:
    """Sign a user in."""
    regenerate()
    session["user"] = name
    return "welcome"


def logout() -> Response:
    """Sign a user out."""
    destroy()
    return Response("bye")


@read_only
def profile() -> str:
    """Show who is signed in."""
    return str(session.get("user", "guest"))


kept_type: Callable[[], str] = profile


def where() -> dict[str, Any]:
    """Show where the session lives."""
    info: SessionInfo = msm.describe(session)
    homes: tuple[str, ...] = info.home_nodes
    return {"ref": info.ref, "homes": homes, "ours": isinstance(session, Session)}


def save(error: MsmError) -> str:
    """Tell errors apart."""
    match error:
        case SessionTooLargeError() | SerializationError():
            path: str = error.path
            return path
        case ReadOnlyError():
            return "read only"
        case _:
            return str(error)


def test_the_shop() -> None:
    """Use the test kit."""
    with Nodes(2) as nodes:
        app = create_app(nodes.config(MSM_ADMIN=False))
        client: FlaskClient = app.test_client()
        first: tuple[str, ...] = holders(client)
        node: Node = nodes[first[0]]
        node.kill()
        nodes.heal()
        probe(app)
        settle(app)
        wait_for_mode(app, "distributed")
        same_browser(client, app.test_client())
        contents: dict[str, Any] = stored(client)
        assert_serializable(contents, codec=codec)
        up: bool = msm.check(app).all_up
        assert up
        msm.close(app)
