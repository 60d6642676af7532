"""The composition root: everything that belongs to one application, built in one order."""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from .cluster import control as control_map
from .cluster import ended_sessions, workers
from .cluster.conditions import Conditions
from .cluster.control import DISTRIBUTION, ON_RECONNECT, POLICY, RUNNING, Control
from .cluster.ended_sessions import EndedSessions
from .cluster.events import Events
from .cluster.health import Thresholds
from .cluster.mode import Mode, ModeState
from .cluster.node_identity import Identities
from .cluster.nodes import NodeTable
from .cluster.placement import Placement
from .cluster.reports import Reports
from .cluster.shared_map import MAX_SIZE, Bounds, SharedMap
from .cluster.trust import hold_off
from .cluster.workers import WorkerRegistry
from .maintenance.copier import RecordCopier
from .maintenance.failback import Failback
from .maintenance.host_log import HostLog
from .maintenance.lanes import Lanes
from .maintenance.learner import Learner
from .maintenance.membership import Membership
from .maintenance.monitor import Monitor
from .maintenance.notes import HostCopy
from .maintenance.parts import Upkeep
from .maintenance.probe import Prober
from .maintenance.reactions import Reactions
from .maintenance.rebuild import Rebuilder
from .maintenance.rebuild_starter import RebuildStarter
from .maintenance.repairs import RetryQueue
from .maintenance.reporting import StatusReporter
from .maintenance.runtime import Runtime
from .maintenance.scheduler import Scheduler
from .memcached.client import MemcachedNode
from .policies import PolicyInForce
from .process.background import Background
from .record.encryption import Encryption, encryption_of
from .record.envelope import Envelope
from .record.hybrid_clock import HybridLogicalClock
from .sessions.blacklist import Blacklist
from .sessions.live_objects import LiveObjects
from .sessions.overrides import RuntimeOverrides
from .sessions.pins import Pins
from .sessions.repository import Repository, Rules
from .sessions.serialization import Listeners, Serialization
from .storage.failover import FailoverStore
from .storage.fast_path import FastPath
from .storage.known_records import KnownRecords
from .storage.local.backend import BackendOpener
from .storage.local.folder import folder_name, node_marks
from .storage.local.store import LocalStore
from .storage.mirror import Mirror
from .storage.replica_set import ReplicaSet
from .storage.replicated import ClusterStore
from .storage.second_looks import SecondLooks


if TYPE_CHECKING:
    from .cluster.events import Event
    from .policies import Failure, Policy
    from .process.clock import Clock
    from .record.codec.msgpack import Codec
    from .record.keys import Keyring
    from .sessions.repository import Notify
    from .settings.node_address import NodeAddress
    from .settings.settings import Settings
    from .storage.store import SessionStore


MakeNode = Callable[["NodeAddress"], Any]
#: How ticks are spaced when MSM_PROBE_INTERVAL is 0 and requests have to do them, seconds.
UNSCHEDULED = 2.0
#: What the workers' own records name as their codec; sessions begin at 1.
SHARED_CODEC = 0


@dataclass(frozen=True, kw_only=True)
class Environment:
    """What an application and its user bring.

    Attributes:
        settings: The application's settings.
        name: The application's name.
        version: Of this package.
        codec: Encodes attributes.
        clock: The source of time.
        keys: Returns the keyring of the application's secrets as they are now.
        notify: Called when a session is created, destroyed or relocated.
        listener: Called with each event.
        raise_unexpected: Whether to raise unexpected errors of a store (tests).
        scheduler: A scheduler of the application, or ``None``.
        make_node: Makes the client of a node.
        policy: The application's own policy for attributes that cannot be stored, or ``None``.
        blacklisted: Called for attributes that are stored as ``None`` from now on.
        root: Folder of the application: those of one name keep their local storage apart.
    """

    settings: Settings
    name: str
    version: str
    codec: Codec
    clock: Clock
    keys: Callable[[], Keyring]
    notify: Notify
    listener: Callable[[Event], object]
    raise_unexpected: Callable[[], bool]
    scheduler: Any
    make_node: MakeNode
    root: str
    policy: Policy | None
    blacklisted: Callable[[Failure], object]

    @cached_property
    def encryption(self) -> Encryption | None:
        """What encrypts records, ``None`` without ``MSM_ENCRYPTION_KEYS``.

        Raises:
            ConfigError: cryptography is not installed.
        """
        return encryption_of(self.settings.encryption_keys)

    @property
    def interval(self) -> float:
        """Time between two ticks, seconds."""
        return self.settings.probe_interval or UNSCHEDULED

    @property
    def notice(self) -> float:
        """Time in seconds after which every worker has noticed that an outage is over."""
        return self.settings.probe_max_backoff + 2 * self.interval

    def background(self, name: str) -> Background:
        """Return a queue of work behind requests, with a thread of that name."""
        return Background(name, clock=self.clock, deadline=self.settings.request_deadline)


class Application:
    """Everything that belongs to one application. Opens no connection, starts no thread.

    Args:
        environment: What the application and its user bring.

    Attributes:
        envelope: Seals and opens sessions.
        placement: Where keys belong.
        events: Where changes are written down.
        local: Sessions of this host.
        cluster: What there is only with nodes.
        store: Where sessions are kept.
        repository: What sessions need of their store.
        backgrounds: Queues of work behind requests.
    """

    def __init__(self, environment: Environment) -> None:
        settings, clock = environment.settings, environment.clock
        self.envelope = Envelope(
            environment.keys,
            codec_id=environment.codec.id,
            compress_above=settings.compress_above or None,
            max_size=settings.max_record_size,
            encryption=environment.encryption,
        )
        ids = [address.id for address in settings.nodes]
        self.placement = Placement(ids, replicas=settings.replicas, last=settings.failover_nodes)
        self.events = Events(clock, environment.listener)
        stamps = HybridLogicalClock(clock)
        behind = environment.background("flask-msm-local")
        self.local = _local_store(environment, self.envelope, self.events, later=behind.put)
        self.cluster: Cluster | None = None
        self.store: SessionStore = self.local
        if ids:
            self.cluster = Cluster(environment, self, stamps=stamps, behind=behind)
            self.store = self.cluster.store
        self.repository = Repository(
            self.cluster.fast_path if self.cluster else self.store,
            codec=environment.codec,
            stamps=stamps,
            clock=clock,
            rules=Rules(
                key_prefix=settings.key_prefix,
                request_deadline=settings.request_deadline,
                absolute_timeout=settings.absolute_timeout,
                regenerate_grace=settings.regenerate_grace,
                on_unknown=settings.on_unknown,
                strict_types=settings.strict_types,
                raise_unexpected=environment.raise_unexpected,
            ),
            notify=environment.notify,
            serialization=self._serialization(environment),
        )
        if self.cluster:
            self.cluster.connect(self.repository)
        self.backgrounds = (*(self.cluster.backgrounds if self.cluster else ()), behind)

    @property
    def mode(self) -> Mode:
        """Where sessions go now; without nodes always local storage."""
        return self.cluster.mode.mode if self.cluster else Mode.LOCAL

    def _serialization(self, environment: Environment) -> Serialization:
        """Return what is done about attributes that cannot be stored."""
        settings, clock = environment.settings, environment.clock
        heartbeat = self.cluster.heartbeat if self.cluster else None

        def worker() -> str:
            return heartbeat.worker if heartbeat else f"{socket.gethostname()}:{os.getpid()}"

        return Serialization(
            policy=PolicyInForce(lambda: settings.serialization_policy, custom=environment.policy),
            blacklist=Blacklist(clock, worker),
            kept=Blacklist(clock, worker),
            pins=Pins(settings.blacklist),
            live=LiveObjects(clock),
            attribute_filter=settings.attribute_filter,
            clock=clock,
            listeners=Listeners(
                say=self.events.add,
                blacklisted=environment.blacklisted,
                stop_distribution=lambda _: None,
            ),
        )


class Cluster:
    """What there is only with nodes: what is known of them, their store, its maintenance.

    Args:
        environment: What the application and its user bring.
        application: Built as far as it is needed here.
        stamps: Makes stamps.
        behind: Keeps copies on this host, behind requests.
    """

    def __init__(
        self,
        environment: Environment,
        application: Application,
        *,
        stamps: HybridLogicalClock,
        behind: Background,
    ) -> None:
        self._environment = environment
        self.interval = environment.interval
        self._stamps = stamps
        self._envelope = application.envelope
        self._events = application.events
        self._local = application.local
        self._placement = application.placement
        settings, clock = environment.settings, environment.clock
        self.nodes: dict[str, Any] = {
            address.id: environment.make_node(address) for address in settings.nodes
        }
        self.state = NodeTable(
            self.nodes,
            limits=Thresholds(
                failures=settings.failure_threshold,
                recoveries=settings.recovery_threshold,
                backoff=min(environment.interval, settings.probe_max_backoff),
                max_backoff=settings.probe_max_backoff,
            ),
            clock=clock,
        )
        self.mode = ModeState(clock)
        self._make_shared_state()
        self._make_store(behind)
        self._make_maintenance()

    def look_afresh(self) -> tuple[Control, WorkerRegistry]:
        """Return an empty control map and registry, to be filled from the nodes alone."""
        environment, settings = self._environment, self._environment.settings
        token = secrets.token_hex(4)

        def worker() -> str:
            # Processes that were forked from one are workers of their own.
            return f"{socket.gethostname()}:{os.getpid()}:{token}"

        return (
            Control(self._shared_map(control_map.KEY_SUFFIX, control_map.BOUNDS), worker=worker),
            WorkerRegistry(
                self._shared_map(workers.KEY_SUFFIX, workers.BOUNDS),
                worker=worker,
                nodes=self.nodes,
                replicas=self._placement.replicas,
                reads=self._envelope.reads,
                interval=settings.probe_interval,
                clock=environment.clock,
            ),
        )

    def connect(self, repository: Repository) -> None:
        """Connect what sessions do with what the fleet knows and shows."""
        environment, serialization = self._environment, repository.serialization
        choices = RuntimeOverrides(
            self.control,
            pins=serialization.pins,
            blacklist=serialization.blacklist,
            local=self._local,
            events=self._events,
            clock=environment.clock,
        )
        serialization.policy.chosen = choices.policy
        serialization.connect(stop_distribution=self.sharing.stop_distribution)
        self.learner.on_learned = choices.apply
        publisher = self.publisher
        publisher.meter = repository.meter
        publisher.before.append(choices.keep)
        publisher.kept_locally = lambda: self.store.saved_locally
        publisher.sources.update(
            blacklist=choices.entries,
            live=lambda: len(serialization.live),
            policy=lambda: serialization.policy.name,
            sessions=lambda: asdict(repository.counters),
            serialization=lambda: asdict(serialization.counts),
            cluster=lambda: {
                **asdict(self.store.nodes.counters),
                "mirror_dropped": self.mirror.dropped if self.mirror else 0,
                "clock_ahead": self._stamps.clock_ahead,
                "kept_late": self.store.late,
                "fast_reads": self.fast_path.taken,
                "other_reads": self.fast_path.left,
            },
        )

    def _make_shared_state(self) -> None:
        """Make what the workers share through the nodes."""
        settings, clock = self._environment.settings, self._environment.clock
        self.control, self.heartbeat = self.look_afresh()
        heartbeat = self.heartbeat
        self.ended_sessions = EndedSessions(
            self._shared_map(ended_sessions.KEY_SUFFIX, ended_sessions.BOUNDS)
        )
        self.conditions = Conditions(
            self.control.shared,
            worker=lambda: heartbeat.worker,
            # Without ticks no worker reports that it lives.
            living=lambda: heartbeat.living() if settings.probe_interval else None,
            events=self._events,
            clock=clock,
        )
        self.reports = Reports(
            settings.key_prefix,
            nodes=self.nodes,
            placement=self._placement,
            usable=lambda node_id: self.state.rights(node_id).joined,
            envelope=self._shared_envelope(),
            stamps=self._stamps,
            clock=clock,
        )

    def _make_store(self, behind: Background) -> None:
        """Make the store of sessions."""
        environment, settings = self._environment, self._environment.settings
        clock, mode = environment.clock, self.mode
        copies = environment.background("flask-msm-copies")
        self.mirror = Mirror(self._local, behind) if settings.mirror or settings.sticky else None
        second_looks = SecondLooks(clock)
        self.replicated = ClusterStore(
            ReplicaSet(
                clients=self.nodes,
                placement=self._placement,
                views=self.state,
                envelope=self._envelope,
                max_size=settings.max_record_size,
                clock=clock,
            ),
            background=copies if settings.backup_async else None,
            second_looks=second_looks,
            behind=copies,
        )
        self.store = FailoverStore(
            self.replicated,
            self._local,
            mode=mode,
            ended_sessions=self.ended_sessions,
            mirror=self.mirror,
            queue=copies,
            near_max_age=settings.near_max_age if settings.sticky else None,
            drops=self._drops,
            returning=lambda: (
                self.learner.others_keep or clock.time() - mode.back_at < environment.notice
            ),
            remembers=lambda ids, deadline: self.sharing.remembers(ids, deadline),  # noqa: PLW0108  (made below)
            clock=clock,
        )
        self.fast_path = FastPath(
            self.store,
            # What sticky sessions read is on this host.
            enabled=settings.fast_path and not settings.sticky,
            mode=mode,
            ended=self.ended_sessions,
            second_looks=second_looks,
            known=KnownRecords(settings.record_cache_bytes),
            keys=environment.keys,
        )
        later = environment.background("flask-msm-upkeep")
        aside = environment.background("flask-msm-return")
        self.lanes = Lanes(later=later.put, aside=aside.put)
        self.backgrounds = (copies, later, aside)

    def _make_maintenance(self) -> None:
        """Make what keeps nodes and sessions whole, behind requests."""
        environment, settings = self._environment, self._environment.settings
        clock, mode = environment.clock, self.mode
        self.returner = Failback(
            self.store,
            mirror=self.mirror,
            control=self.control,
            state=self.state,
            events=self._events,
            mode=lambda: mode.mode,
            drops=self._drops,
            clock=clock,
            timeout=settings.timeout,
            conditions=self.conditions,
        )
        identities = Identities(settings.key_prefix)
        self.rebuilder = Rebuilder(
            self.nodes,
            placement=self._placement,
            control=self.control,
            copier=RecordCopier(
                envelope=self._envelope,
                clock=clock,
                timeout=settings.timeout,
                pause=time.sleep,
            ),
            events=self._events,
            clock=clock,
            key_prefix=settings.key_prefix,
            timeout=settings.timeout,
            read_elsewhere=self.heartbeat.is_read_elsewhere,
            identities=identities,
        )
        self.repairs = RetryQueue(
            rejoin=lambda key: self.replicated.rejoin(key, clock.monotonic() + settings.timeout),
            give_up=lambda node_id: self.reactions.give_up(node_id),  # noqa: PLW0108  (made below)
            clock=clock,
            patience=environment.interval,
        )
        self.publisher = StatusReporter(
            self.reports,
            heartbeat=self.heartbeat,
            state=self.state,
            mode=mode,
            control=self.control,
            events=self._events,
            local=self._local,
            rebuilder=self.rebuilder,
            returner=self.returner,
            clock=clock,
            timeout=settings.timeout,
            version=environment.version,
        )
        shared = [
            (control_map.KEY_SUFFIX, self.control.shared),
            (workers.KEY_SUFFIX, self.heartbeat.shared),
            (ended_sessions.KEY_SUFFIX, self.ended_sessions.shared),
        ]
        parts = Upkeep(
            nodes=self.nodes,
            state=self.state,
            mode=mode,
            control=self.control,
            heartbeat=self.heartbeat,
            endings=self.ended_sessions,
            conditions=self.conditions,
            identities=identities,
            rebuilder=self.rebuilder,
            repairs=self.repairs,
            returner=self.returner,
            notes=HostCopy(self._local, shared),
            host_log=HostLog(self.control.shared, self._local),
            publisher=self.publisher,
            events=self._events,
            lanes=self.lanes,
            clock=clock,
            timeout=settings.timeout,
        )
        self.prober = Prober(parts)
        self.learner = Learner(parts, notice=environment.notice)
        self.sharing = Membership(
            parts, prober=self.prober, learner=self.learner, interval=environment.interval
        )
        self.reactions = Reactions(parts, learner=self.learner, sharing=self.sharing)
        self.monitor = Monitor(
            parts,
            prober=self.prober,
            sharing=self.sharing,
            rebuilds=RebuildStarter(
                parts,
                learner=self.learner,
                sharing=self.sharing,
                hold_off=hold_off(environment.interval, settings.request_deadline),
                rebuilds=bool(settings.probe_interval),
            ),
            deadline=settings.request_deadline,
        )
        scheduler = Scheduler(
            self.monitor.tick,
            name=f"{environment.name}:{settings.key_prefix}",
            interval=settings.probe_interval,
            leave=self.monitor.leave,
            theirs=environment.scheduler,
        )
        self.runtime = Runtime(self.monitor, scheduler, state=self.state, clock=clock)

    def _drops(self) -> bool:
        """Return whether changes of an outage are dropped when the cluster is back."""
        configured = self._environment.settings.on_reconnect
        return (self.control.choice(ON_RECONNECT).value or configured) == "discard"

    @property
    def configured(self) -> dict[str, str]:
        """What is configured for everything that operators may choose."""
        settings = self._environment.settings
        return {
            POLICY: settings.serialization_policy,
            ON_RECONNECT: settings.on_reconnect,
            DISTRIBUTION: RUNNING,
        }

    def _shared_map(self, suffix: str, bounds: Bounds) -> SharedMap:
        return SharedMap(
            self._environment.settings.key_prefix + suffix,
            envelope=self._shared_envelope(),
            stamps=self._stamps,
            clock=self._environment.clock,
            bounds=bounds,
        )

    def _shared_envelope(self) -> Envelope:
        return Envelope(
            self._environment.keys,
            codec_id=SHARED_CODEC,
            compress_above=4096,
            max_size=MAX_SIZE,
            encryption=self._environment.encryption,
        )


def _local_store(
    environment: Environment,
    envelope: Envelope,
    events: Events,
    *,
    later: Callable[[Callable[[float], object]], bool],
) -> LocalStore:
    """Return the store of this host, which is opened when it is used."""
    settings = environment.settings
    ids = [address.id for address in settings.nodes]

    def trouble(reason: str | None) -> None:
        if reason is None:
            events.add("info", "local_storage_works", "local storage works again")
        else:
            where, shelf = "local storage", shelves.opened
            if shelf is not None and shelf.kind == "filesystem":
                where = f"local storage in {shelf.place}"
            events.add("error", "local_storage_failed", f"{where}: {reason}")

    shelves = BackendOpener(
        settings.local_cache,
        keys=environment.keys,
        base=settings.local_dir,
        name=folder_name(settings.key_prefix, ids, environment.root),
        sessions=settings.local_max_sessions,
        size=settings.local_max_bytes,
        alone=not ids,
        trouble=trouble,
        marks=node_marks(settings.key_prefix, ids, environment.root),
    )
    return LocalStore(
        shelves,
        envelope=envelope,
        max_size=settings.max_record_size,
        clock=environment.clock,
        prefix=settings.key_prefix,
        alone=not ids,
        trouble=trouble,
        later=later,
    )


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
