"""The composition root: the only file that puts the parts together."""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from .cluster.health import Thresholds
from .cluster.placement import Placement
from .cluster.state import ClusterState
from .cluster.trust import hold_off
from .fleet import control as control_file
from .fleet import heartbeat as heartbeat_file
from .fleet.control import Control
from .fleet.events import Events
from .fleet.heartbeat import Heartbeat
from .fleet.shared_map import MAX_SIZE, SharedMap
from .gate import Gate
from .record.envelope import Envelope
from .record.keys import Keyring, keyring
from .record.stamp import StampClock
from .repository import Notify, Repository, Rules
from .runtime import Runtime
from .scheduler import Scheduler
from .stores.background import Background
from .stores.cluster import ClusterStore
from .stores.local import LocalStore, memory_cache
from .stores.memcached import MemcachedNode
from .stores.nodes import Nodes
from .upkeep.copier import Copier
from .upkeep.monitor import Monitor, Upkeep
from .upkeep.rebuild import Rebuilder
from .upkeep.repairs import Repairs


if TYPE_CHECKING:
    from .clock import Clock
    from .fleet.events import Event
    from .record.codec import Codec
    from .record.keys import Secrets
    from .settings import NodeAddress, Settings
    from .stores.ports import SessionStore


#: What the fleet's own records name as their codec; sessions begin at 1.
FLEET_CODEC = 0
#: How ticks are spaced when MSM_PROBE_INTERVAL is 0 and requests have to do them, seconds.
UNSCHEDULED = 2.0

MakeNode = Callable[["NodeAddress"], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What an application and its user bring.

    Attributes:
        settings: The application's settings.
        name: The application's name.
        codec: Encodes attributes.
        clock: Tells the time.
        secrets: Returns the application's secrets, the current one first.
        notify: Told of sessions created, destroyed and relocated.
        listener: Told of events.
        raise_unexpected: Whether to raise unexpected errors of a store (tests).
        scheduler: A scheduler of the application, or ``None``.
        make_node: Makes the client of a node.
    """

    settings: Settings
    name: str
    codec: Codec
    clock: Clock
    secrets: Callable[[], Secrets]
    notify: Notify
    listener: Callable[[Event], object]
    raise_unexpected: Callable[[], bool]
    scheduler: Any
    make_node: MakeNode


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterParts:
    """What there is only with nodes."""

    nodes: dict[str, Any]
    state: ClusterState
    control: Control
    monitor: Monitor
    runtime: Runtime
    gate: Gate
    rebuilder: Rebuilder
    backgrounds: tuple[Background, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Everything that belongs to one application."""

    envelope: Envelope
    placement: Placement
    store: SessionStore
    repository: Repository
    events: Events
    cluster: ClusterParts | None


def assemble(needs: Needs) -> Parts:
    """Return the parts of an application. Opens no connection, starts no thread."""
    settings = needs.settings
    envelope = Envelope(
        codec_id=needs.codec.id,
        compress_above=settings.compress_above or None,
        max_size=settings.max_record_size,
    )
    ids = [address.id for address in settings.nodes]
    placement = Placement(ids, replicas=settings.replicas, last=settings.failover_nodes)
    stamps = StampClock(needs.clock)
    events = Events(needs.clock, needs.listener)
    store: SessionStore
    cluster = None
    if ids:
        store, cluster = _cluster(needs, envelope, placement, stamps, events)
    else:
        store = LocalStore(
            memory_cache(settings.local_max_sessions),
            envelope=envelope,
            max_size=settings.max_record_size,
            clock=needs.clock,
        )
    repository = Repository(
        store,
        codec=needs.codec,
        stamps=stamps,
        clock=needs.clock,
        rules=Rules(
            key_prefix=settings.key_prefix,
            request_deadline=settings.request_deadline,
            absolute_timeout=settings.absolute_timeout,
            regenerate_grace=settings.regenerate_grace,
            on_unknown=settings.on_unknown,
            raise_unexpected=needs.raise_unexpected,
        ),
        notify=needs.notify,
    )
    return Parts(
        envelope=envelope,
        placement=placement,
        store=store,
        repository=repository,
        events=events,
        cluster=cluster,
    )


def _cluster(
    needs: Needs, envelope: Envelope, placement: Placement, stamps: StampClock, events: Events
) -> tuple[ClusterStore, ClusterParts]:
    settings, clock = needs.settings, needs.clock
    interval = settings.probe_interval or UNSCHEDULED
    nodes = {address.id: needs.make_node(address) for address in settings.nodes}
    state = ClusterState(
        nodes,
        limits=Thresholds(
            failures=settings.failure_threshold,
            recoveries=settings.recovery_threshold,
            backoff=min(interval, settings.probe_max_backoff),
            max_backoff=settings.probe_max_backoff,
        ),
        clock=clock,
    )
    copies = Background("flask-msm-copies", clock=clock, deadline=settings.request_deadline)
    upkeep = Background("flask-msm-upkeep", clock=clock, deadline=settings.request_deadline)
    store = ClusterStore(
        Nodes(
            clients=nodes,
            placement=placement,
            views=state,
            envelope=envelope,
            max_size=settings.max_record_size,
            clock=clock,
        ),
        background=copies if settings.backup_async else None,
    )
    keys = partial(_current_keys, needs)
    control, heartbeat = _fleet(needs, stamps, nodes, placement)
    rebuilder = Rebuilder(
        nodes,
        placement=placement,
        control=control,
        copier=Copier(
            envelope=envelope, keys=keys, clock=clock, timeout=settings.timeout, pause=time.sleep
        ),
        events=events,
        clock=clock,
        key_prefix=settings.key_prefix,
        timeout=settings.timeout,
    )
    repairs = Repairs(
        rejoin=lambda key: store.rejoin(key, keys(), clock.monotonic() + settings.timeout),
        give_up=lambda node_id: monitor.give_up(node_id),  # noqa: PLW0108  (made below)
        clock=clock,
        patience=interval,
    )
    monitor = Monitor(
        Upkeep(
            nodes=nodes,
            state=state,
            control=control,
            heartbeat=heartbeat,
            rebuilder=rebuilder,
            repairs=repairs,
            events=events,
        ),
        keys=keys,
        clock=clock,
        timeout=settings.timeout,
        deadline=settings.request_deadline,
        hold_off=hold_off(interval, settings.request_deadline),
        later=upkeep.put,
        rebuilds=bool(settings.probe_interval),
    )
    scheduler = Scheduler(
        monitor.tick,
        name=f"{needs.name}:{settings.key_prefix}",
        interval=settings.probe_interval,
        leave=monitor.leave,
        theirs=needs.scheduler,
    )
    gate = Gate(
        nodes,
        look=lambda: _fleet(needs, stamps, nodes, placement),
        keys=keys,
        clock=clock,
        timeout=settings.connect_timeout + settings.timeout,
    )
    return store, ClusterParts(
        nodes=nodes,
        state=state,
        control=control,
        monitor=monitor,
        runtime=Runtime(monitor, scheduler, state=state, clock=clock),
        gate=gate,
        rebuilder=rebuilder,
        backgrounds=(copies, upkeep),
    )


def _fleet(
    needs: Needs, stamps: StampClock, nodes: dict[str, Any], placement: Placement
) -> tuple[Control, Heartbeat]:
    settings, clock = needs.settings, needs.clock
    envelope = Envelope(codec_id=FLEET_CODEC, compress_above=4096, max_size=MAX_SIZE)
    token = secrets.token_hex(4)

    def worker() -> str:
        # Processes that were forked from one are workers of their own.
        return f"{socket.gethostname()}:{os.getpid()}:{token}"

    def shared(suffix: str) -> SharedMap:
        key = settings.key_prefix + suffix
        return SharedMap(key, envelope=envelope, stamps=stamps, clock=clock)

    return (
        Control(shared(control_file.KEY_SUFFIX), worker=worker),
        Heartbeat(
            shared(heartbeat_file.KEY_SUFFIX),
            worker=worker,
            nodes=nodes,
            replicas=placement.replicas,
            interval=settings.probe_interval,
            clock=clock,
        ),
    )


def _current_keys(needs: Needs) -> Keyring:
    return keyring(needs.secrets())


def memcached_node(address: NodeAddress, settings: Settings, clock: Clock) -> MemcachedNode:
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
