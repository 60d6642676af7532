"""``MemcachedSessionManager``: what an application creates and calls ``init_app`` on."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, partial
from math import inf
from typing import TYPE_CHECKING, Any, TypeVar

from flask import Flask, current_app
from flask import session as current_session

from flask_msm.memcached.client import MemcachedNode
from flask_msm.operations.command_group import msm_commands
from flask_msm.process.clock import Clock, FleetClock, SystemClock
from flask_msm.record.codec.msgpack import Codec, MsgpackCodec
from flask_msm.record.codec.names import text_of
from flask_msm.sessions.overrides import POLICY_APPLIED
from flask_msm.sessions.session import FORGET, REMEMBER, Session
from flask_msm.settings.secret_keys import check_secrets, keyring_of, secrets_of
from flask_msm.settings.settings import Settings
from flask_msm.settings.types import switched_on

from .application import Application, Environment
from .errors import ConfigError, SessionUnavailableError
from .interface import READ_ONLY, MsmSessionInterface
from .record.record import BEHIND
from .signals import (
    SESSION_SIGNALS,
    attribute_blacklisted,
    mode_changed,
    node_changed,
    policy_changed,
)
from .version import VERSION


if TYPE_CHECKING:
    from flask_msm.cluster.event_kinds import Event
    from flask_msm.operations.alerts import Alerts
    from flask_msm.operations.checks import Report
    from flask_msm.operations.console import Console
    from flask_msm.sessions.repository import Repository
    from flask_msm.settings.node_address import NodeAddress
    from flask_msm.storage.store import SessionStore

    from .policies import Failure, Policy


#: Records name their codec in one byte; 0 is that of the fleet's own records.
MAX_CODEC_ID = 255

logger = logging.getLogger("flask_msm")

EXTENSION = "msm"

View = TypeVar("View", bound=Callable[..., object])


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionInfo:
    """Where a session lives, for people to look at.

    Attributes:
        ref: Its public name; ``None`` when nothing is stored.
        version: Its version, a number too large for JavaScript and therefore a string.
        mode: Where sessions go now: ``distributed``, ``local`` or ``stopped``.
        home_nodes: Ids of the nodes that shall hold it.
        holders: Ids of the nodes that hold it now, and ``local`` if local storage does.
        size: Its size in bytes as stored.
        created: When it began; ``None`` when that is not known.
        renewed: When it was last written.
        expires_at: When it ends if it is not used before.
        attributes: Names of its attributes.
    """

    ref: str | None
    version: str
    mode: str
    home_nodes: tuple[str, ...] = ()
    holders: tuple[str, ...] = ()
    size: int | None = None
    created: datetime | None = None
    renewed: datetime | None = None
    expires_at: datetime | None = None
    attributes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class AppState:
    """What belongs to one application; ``app.extensions["msm"]``."""

    settings: Settings
    parts: Application
    interface: MsmSessionInterface
    make_console: Callable[[], Console]

    @cached_property
    def console(self) -> Console:
        """What operators see and change."""
        return self.make_console()

    @cached_property
    def alerts(self) -> Alerts:
        """What tells ``MSM_ON_ALERT`` of changes; imported here, because most workers need none."""
        from .operations.alerts import Alerts  # noqa: PLC0415

        assert self.parts.cluster is not None  # noqa: S101  (there are no ticks without nodes)
        return Alerts(self.parts.cluster, self.settings, self.console.view)

    @property
    def store(self) -> SessionStore:
        """Where sessions are kept."""
        return self.parts.store

    @property
    def repository(self) -> Repository:
        """What sessions need of their store."""
        return self.parts.repository

    @property
    def nodes(self) -> dict[str, Any]:
        """Node clients by id, empty without nodes."""
        return self.parts.cluster.nodes if self.parts.cluster else {}

    @property
    def mode(self) -> str:
        """Where sessions go now: ``distributed``, ``local`` or ``stopped``."""
        return self.parts.mode.value

    def close(self) -> None:
        """Finish what is queued, end threads, close connections; the next request begins anew."""
        cluster = self.parts.cluster
        if cluster is not None:
            cluster.runtime.stop()
        for background in self.parts.backgrounds:
            background.close()
        for node in self.nodes.values():
            node.close()


class MemcachedSessionManager:
    """Keeps the sessions of Flask applications in memcached.

    Args:
        app: An application to set up at once; or call ``init_app`` later, for several if wanted.
        codec: Encodes attributes; MessagePack, with what Flask's own session takes, if not given.
        clock: The source of time; for tests.
        scheduler: An APScheduler scheduler to use instead of an own one.
        policy: Decides what happens when an attribute cannot be stored, instead of
            ``MSM_SERIALIZATION_POLICY``: gets a ``flask_msm.policies.Failure``, returns one of
            the verdicts there.
        interface: A subclass of ``flask_msm.MsmSessionInterface`` with hooks of the application.

    Raises:
        ConfigError: *codec* or *interface* cannot work, or *app* cannot be set up.
    """

    def __init__(
        self,
        app: Flask | None = None,
        *,
        codec: Codec | None = None,
        clock: Clock | None = None,
        scheduler: Any = None,
        policy: Policy | None = None,
        interface: type[MsmSessionInterface] = MsmSessionInterface,
    ) -> None:
        self._interface = _checked_interface(interface)
        self._codec = MsgpackCodec() if codec is None else _checked_codec(codec)
        self._clock = clock or SystemClock()
        self._scheduler = scheduler
        self._policy = policy
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Set *app* up. Opens no connection and starts no thread.

        Raises:
            ConfigError: A setting is wrong, *app* was set up before, or is no application.
        """
        if not isinstance(app, Flask):
            raise ConfigError("init_app", type(app).__name__, "a Flask application")
        check_secrets(app)
        if EXTENSION in app.extensions:
            raise ConfigError("init_app", app.name, "once for each application")
        is_test = switched_on(app.testing)
        settings = Settings.from_mapping(app.config, app_name=app.name, testing=is_test)
        if not settings.enabled:
            return
        _check_lifetime(app)
        # Without nodes there is no other time to compare with.
        clock = FleetClock(self._clock) if settings.nodes else self._clock
        parts = Application(self._environment(app, settings, clock))
        interface = self._interface(
            parts.repository,
            idle_timeout=settings.idle_timeout,
            ignore=settings.ignore_pattern,
            route=settings.route,
            on_load=parts.cluster.runtime.on_load if parts.cluster else None,
            on_request=_on_request(parts, settings),
        )
        state = AppState(
            settings=settings,
            parts=parts,
            interface=interface,
            make_console=partial(_console, app, parts, settings, clock),
        )
        # What may raise comes first: then nothing is set up, and it can be tried again.
        if settings.admin:
            from flask_msm_dashboard import mount  # noqa: PLC0415

            mount(app, lambda: state.console, settings)
        if SessionUnavailableError not in app.error_handler_spec[None][None]:
            app.register_error_handler(SessionUnavailableError, _unavailable)
        app.cli.add_command(msm_commands)
        app.extensions[EXTENSION] = state
        app.session_interface = interface
        if settings.on_alert is not None and parts.cluster is not None:
            parts.cluster.monitor.watchers.append(partial(_look, state))
        if not settings.nodes:
            logger.warning("MSM_NODES is not set: sessions are kept on this host only")

    def state(self, app: Flask | None = None) -> AppState:
        """Return what belongs to *app*, or to the current application.

        Raises:
            ConfigError: The application was not set up.
        """
        target = app or current_app
        state: AppState | None = target.extensions.get(EXTENSION)
        if state is None:
            raise ConfigError("init_app", target.name, "an application that was set up with it")
        return state

    @property
    def console(self) -> Console:
        """The ``flask_msm.commands.Console`` of the current application."""
        return self.state().console

    def start(self, app: Flask | None = None) -> None:
        """Begin what this process does between requests, and let the fleet know of it.

        The first request does the same. A server's hook that runs in each worker, as gunicorn's
        ``post_worker_init``, makes the worker known before that; not to be called before a fork.

        Args:
            app: The application, the current one if not given.
        """
        cluster = self.state(app).parts.cluster
        if cluster is not None:
            cluster.runtime.on_load()

    def close(self, app: Flask | None = None) -> None:
        """Finish what is queued, end threads, and close the connections of *app*."""
        self.state(app).close()

    def check(self, app: Flask | None = None, *, timeout: float = 0.0) -> Report:
        """Return whether every node is up for every worker, so that the next may be restarted.

        Args:
            app: The application, the current one if not given.
            timeout: Time in seconds to wait for that.

        Returns:
            A report: ``all_up``, ``nodes`` with ``node``, ``up`` and ``text`` of each,
            ``waits_for``, what has to be over before, and ``lost``, whether sessions are being
            lost beside that, in words.
        """
        return self.state(app).console.check(timeout)

    def describe(self, session: Any) -> SessionInfo:
        """Return where *session* lives, as the nodes have it: without what this request changed.

        Every node is asked, all at once. While one hangs that takes until its time-out, half a
        second with the defaults, and never longer than ``MSM_REQUEST_DEADLINE`` leaves: for a page
        of support or a test, not for every request.
        """
        state = self.state()
        if not isinstance(session, Session):
            return SessionInfo(ref=None, version="0", mode="foreign")
        names = tuple(name for key in session if (name := text_of(key)) is not None)
        unit = session._backing
        token = unit.request.token if unit else None
        if unit is None or unit.record is None or token is None:
            return SessionInfo(ref=None, version="0", mode=state.mode, attributes=names)
        record = unit.record
        key, budget = unit.request.place(token)
        holders = state.store.holders(key, self._clock.monotonic() + max(budget.left, 0.0))
        limit = state.settings.absolute_timeout
        over = inf if limit is None else record.created + limit
        return SessionInfo(
            ref=session.ref,
            version=str(record.version),
            mode=state.mode,
            home_nodes=state.parts.placement.homes(key),
            holders=holders,
            size=len(state.parts.envelope.seal(record, key)),
            created=None
            if record.created >= BEHIND
            else datetime.fromtimestamp(record.created, UTC),
            renewed=datetime.fromtimestamp(record.renewed, UTC),
            expires_at=datetime.fromtimestamp(min(record.expires_at, over), UTC),
            attributes=names,
        )

    def _bound_codec(self, app: Flask, *, strict: bool) -> Codec:
        """Return the codec as *app* uses it: what it does not know goes to the JSON of *app*."""
        if not isinstance(self._codec, MsgpackCodec):
            return self._codec
        return self._codec.bound(strict=strict, default=partial(_json_default, app))

    def _environment(self, app: Flask, settings: Settings, clock: Clock) -> Environment:
        """Return what *app* brings; tests put other nodes, queues and names in its place."""
        return Environment(
            settings=settings,
            name=app.name,
            version=VERSION,
            codec=self._bound_codec(app, strict=settings.strict_types),
            clock=clock,
            keys=partial(keyring_of, app),
            notify=partial(_session_signal, app),
            listener=partial(_event_signal, app),
            raise_unexpected=lambda: switched_on(app.testing),
            scheduler=self._scheduler,
            make_node=lambda address: _node(address, settings, self._clock),
            root=app.root_path,
            policy=self._policy,
            blacklisted=partial(_blacklist_signal, app),
        )


def _on_request(parts: Application, settings: Settings) -> Callable[[], object] | None:
    """Return what the first request of a process begins, also one that touches no session."""
    if parts.cluster is None or not settings.probe_interval:
        return None  # without ticks no worker reports that it is there
    return parts.cluster.runtime.begin_behind


def regenerate() -> None:
    """Give the current session another id; call it at a sign-in, against session fixation.

    ``session.sid`` and ``session.ref`` name the new session from now on, and it is stored when the
    session is saved. When another request has moved the session already (a double click), this one
    gets a session of its own: with what it set, and with what it had read if that was before.
    Does nothing where sessions are not kept by this extension (``MSM_ENABLED = False``).

    Raises:
        RuntimeError: The response has begun (in a stream): no cookie for the new id could be sent.
    """
    current = current_session._get_current_object()  # type: ignore[attr-defined]
    if isinstance(current, Session):
        current.regenerate()


def destroy() -> None:
    """End the current session for good; what is set afterwards starts a new one.

    After ``logout_user()`` of Flask-Login or before, that removes the cookie of *remember me*.
    Where sessions are not kept by this extension it is ``session.clear()``.
    """
    current = current_session._get_current_object()  # type: ignore[attr-defined]
    if isinstance(current, Session):
        current.destroy()
    else:
        forgets = current.get(REMEMBER) == FORGET
        current.clear()
        if forgets:
            current[REMEMBER] = FORGET


def read_only(view: View) -> View:
    """Mark *view*: its requests save nothing.

    A change of the session raises ``ReadOnlyError`` in debug mode and is logged otherwise; either
    names each attribute that was changed. The session stays alive as with any other view.
    """
    setattr(view, READ_ONLY, True)
    return view


def _json_default(app: Flask, value: object) -> object:
    """Return what the JSON provider of *app* makes of *value*.

    Raises:
        TypeError: It makes nothing of it.
    """
    # Looked up at use: an application may set ``app.json`` after ``init_app``.
    default = getattr(app.json, "default", None)
    if callable(default):
        return default(value)
    return app.json.loads(app.json.dumps(value))


def _session_signal(app: Flask, what: str, ref: str) -> None:
    SESSION_SIGNALS[what].send(app, ref=ref)


def _event_signal(app: Flask, event: Event) -> None:
    if event.kind.startswith("mode_"):
        mode_changed.send(app, mode=event.kind.removeprefix("mode_"), text=event.text)
    if event.node is not None and event.kind.startswith("node_"):
        node_changed.send(app, node=event.node, kind=event.kind, text=event.text)
    if event.kind == POLICY_APPLIED:
        policy = app.extensions[EXTENSION].repository.serialization.policy.name
        policy_changed.send(app, policy=policy, text=event.text)


def _blacklist_signal(app: Flask, failure: Failure) -> None:
    attribute_blacklisted.send(
        app, attribute=failure.attribute, type=failure.type_name, path=failure.path
    )


def _checked_codec(codec: Codec) -> Codec:
    """Return *codec*, an instance that has all that a codec needs.

    Raises:
        ConfigError: Something is missing.
    """
    name = codec.__name__ if isinstance(codec, type) else type(codec).__name__
    if isinstance(codec, type):
        raise ConfigError("codec", f"the class {name}", "an instance of it")
    for method in ("dumps", "loads"):
        if not callable(getattr(codec, method, None)):
            raise ConfigError("codec", f"{name} without {method}()", "a codec with dumps and loads")
    number = getattr(codec, "id", None)
    if type(number) is not int or not 1 <= number <= MAX_CODEC_ID:
        raise ConfigError("codec", f"{name} with id {number!r}", "an id from 1 to 255")
    return codec


def _check_lifetime(app: Flask) -> None:
    """Refuse a life of sessions that Flask could not use either, but only in a request.

    Raises:
        ConfigError: ``PERMANENT_SESSION_LIFETIME`` is a text, or something else without a length.
    """
    try:
        app.permanent_session_lifetime.total_seconds()
    except (AttributeError, TypeError, ValueError, OverflowError):
        key = "PERMANENT_SESSION_LIFETIME"
        allowed = "a timedelta, or a number of seconds (no text)"
        raise ConfigError(key, app.config[key], allowed) from None


def _checked_interface(interface: type[MsmSessionInterface]) -> type[MsmSessionInterface]:
    """Return *interface*, which is a class of ours or one derived from it.

    Raises:
        ConfigError: It is something else.
    """
    if isinstance(interface, type) and issubclass(interface, MsmSessionInterface):
        return interface
    if isinstance(interface, type):
        given = f"the class {interface.__name__}"
    else:
        given = f"an object of {type(interface).__name__}"
    raise ConfigError("interface", given, "a subclass of flask_msm.MsmSessionInterface, as a class")


def _unavailable(error: Exception) -> tuple[str, int]:
    logger.warning("503: %s", error)
    return "Your session cannot be reached at the moment. Please try again.", 503


def _look(state: AppState) -> None:
    state.alerts.look()


def _console(app: Flask, parts: Application, settings: Settings, clock: Clock) -> Console:
    """Return what operators see and change; imported here, because most workers need none."""
    from .operations.console import Console  # noqa: PLC0415
    from .operations.lookup import SessionLookup  # noqa: PLC0415

    lookups = SessionLookup(
        parts,
        settings,
        secrets=lambda: secrets_of(app) or ("",),
        clock=clock,
        life=lambda: app.extensions[EXTENSION].interface.life(app),
    )
    return Console(parts, settings, app_name=app.name, clock=clock, lookups=lookups)


def _node(address: NodeAddress, settings: Settings, clock: Clock) -> MemcachedNode:
    """Return the client of one node."""
    return MemcachedNode(
        address.id,
        host=address.host,
        port=address.port,
        path=address.path,
        connect_timeout=settings.connect_timeout,
        timeout=settings.timeout,
        pool_size=settings.pool_size,
        retry_attempts=settings.retry_attempts,
        retry_delay=settings.retry_delay,
        tls_context=settings.tls_context,
        auth=settings.auth,
        clock=clock,
    )
