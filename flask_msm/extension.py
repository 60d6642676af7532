"""``init_app``: the only file that puts the parts together."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from flask import Flask, current_app

from .clock import Clock, SystemClock
from .cluster.placement import Placement
from .cluster.state import RecentFailures
from .errors import ConfigError, SessionUnavailableError
from .interface import MsmSessionInterface
from .record.codec import Codec, MsgpackCodec
from .record.envelope import Envelope
from .record.stamp import StampClock
from .repository import Repository, Rules
from .session import Session
from .settings import Settings
from .signals import SESSION_SIGNALS
from .stores.background import Background
from .stores.cluster import ClusterStore
from .stores.local import LocalStore, memory_cache
from .stores.memcached import MemcachedNode


if TYPE_CHECKING:
    from .stores.ports import SessionStore


logger = logging.getLogger("flask_msm")

EXTENSION = "msm"


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionInfo:
    """Where a session lives, for people to look at.

    Attributes:
        ref: Its public name; ``None`` when nothing is stored.
        version: Its version, a number too large for JavaScript and therefore a string.
        mode: ``distributed``, or ``local`` without nodes.
        home_nodes: Ids of the nodes that shall hold it.
        holders: Ids of the nodes that hold it now.
        size: Its size in bytes as stored.
        created: When it began.
        renewed: When it was last written.
        expires_at: When it ends if nobody comes.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class AppState:
    """What belongs to one application; ``app.extensions["msm"]``."""

    settings: Settings
    clock: Clock
    envelope: Envelope
    placement: Placement
    store: SessionStore
    repository: Repository
    interface: MsmSessionInterface
    nodes: dict[str, MemcachedNode]
    background: Background | None

    @property
    def mode(self) -> str:
        """``distributed``, or ``local`` without nodes."""
        return "distributed" if self.nodes else "local"

    def close(self) -> None:
        """Finish what is queued and close connections; the next request opens new ones."""
        if self.background is not None:
            self.background.close()
        for node in self.nodes.values():
            node.close()


class MemcachedSessionManager:
    """Keeps the sessions of Flask applications in memcached.

    Args:
        app: An application to set up at once; or call ``init_app`` later, for several if wanted.
        codec: Encodes attributes; MessagePack with Flask's types if not given.
        clock: Tells the time; for tests.
    """

    def __init__(
        self, app: Flask | None = None, *, codec: Codec | None = None, clock: Clock | None = None
    ) -> None:
        self._codec = codec or MsgpackCodec()
        self._clock = clock or SystemClock()
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Set *app* up. Opens no connection and starts no thread.

        Raises:
            ConfigError: A setting is wrong, or *app* was set up before.
        """
        if EXTENSION in app.extensions:
            raise ConfigError("init_app", app.name, "once for each application")
        settings = Settings.from_mapping(app.config, app_name=app.name, testing=app.testing)
        if not settings.enabled:
            return
        state = self._assemble(app, settings)
        app.extensions[EXTENSION] = state
        app.session_interface = state.interface
        app.register_error_handler(SessionUnavailableError, _unavailable)
        if not settings.nodes:
            logger.warning("MSM_NODES is not set: sessions stay in the memory of each process")

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

    def close(self, app: Flask | None = None) -> None:
        """Finish what is queued and close the connections of *app*."""
        self.state(app).close()

    def describe(self, session: Any) -> SessionInfo:
        """Return where *session* lives. Asks every node."""
        state = self.state()
        if not isinstance(session, Session):
            return SessionInfo(ref=None, version="0", mode="foreign")
        names = tuple(session)
        unit = session.backing
        key, record = getattr(unit, "key", None), getattr(unit, "record", None)
        if key is None or record is None:
            return SessionInfo(ref=None, version="0", mode=state.mode, attributes=names)
        slot = unit.slot(unit.token)  # type: ignore[union-attr]
        return SessionInfo(
            ref=session.ref,
            version=str(record.version),
            mode=state.mode,
            home_nodes=state.placement.homes(key),
            holders=state.store.holders(key, slot.deadline),
            size=len(state.envelope.seal(record, key, slot.keys)),
            created=datetime.fromtimestamp(record.created, UTC),
            renewed=datetime.fromtimestamp(record.renewed, UTC),
            expires_at=datetime.fromtimestamp(record.expires_at, UTC),
            attributes=names,
        )

    def _assemble(self, app: Flask, settings: Settings) -> AppState:
        envelope = Envelope(
            codec_id=self._codec.id,
            compress_above=settings.compress_above or None,
            max_size=settings.max_record_size,
        )
        ids = [address.id for address in settings.nodes]
        placement = Placement(ids, replicas=settings.replicas, last=settings.failover_nodes)
        nodes = {address.id: self._node(address, settings) for address in settings.nodes}
        background = None
        if settings.backup_async:
            background = Background(
                "flask-msm-copies", clock=self._clock, deadline=settings.request_deadline
            )
        store: SessionStore
        if nodes:
            store = ClusterStore(
                nodes,
                placement=placement,
                views=RecentFailures(ids, clock=self._clock),
                envelope=envelope,
                max_size=settings.max_record_size,
                clock=self._clock,
                background=background,
            )
        else:
            store = LocalStore(
                memory_cache(settings.local_max_sessions),
                envelope=envelope,
                max_size=settings.max_record_size,
                clock=self._clock,
            )
        repository = Repository(
            store,
            codec=self._codec,
            stamps=StampClock(self._clock),
            clock=self._clock,
            rules=Rules(
                key_prefix=settings.key_prefix,
                request_deadline=settings.request_deadline,
                absolute_timeout=settings.absolute_timeout,
                regenerate_grace=settings.regenerate_grace,
                on_unknown=settings.on_unknown,
                raise_unexpected=app.testing,
            ),
            notify=partial(_send, app),
        )
        interface = MsmSessionInterface(
            repository,
            idle_timeout=settings.idle_timeout,
            ignore=settings.ignore_pattern,
            route=settings.route,
        )
        return AppState(
            settings=settings,
            clock=self._clock,
            envelope=envelope,
            placement=placement,
            store=store,
            repository=repository,
            interface=interface,
            nodes=nodes,
            background=background,
        )

    def _node(self, address: Any, settings: Settings) -> MemcachedNode:
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
            clock=self._clock,
        )


def _send(app: Flask, what: str, ref: str) -> None:
    SESSION_SIGNALS[what].send(app, ref=ref)


def _unavailable(error: Exception) -> tuple[str, int]:
    logger.warning("503: %s", error)
    return "Your session cannot be reached at the moment. Please try again.", 503
