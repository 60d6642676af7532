"""The composition root: everything that belongs to one application, built in one order."""

from __future__ import annotations

import os
import random
import secrets
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from .cluster import control, ended_sessions, workers
from .cluster.beats import Beats
from .cluster.common_nodes import CommonNodes
from .cluster.conditions import Conditions
from .cluster.control import DISTRIBUTION, ON_RECONNECT, POLICY, RUNNING, Control
from .cluster.ended_sessions import EndedSessions
from .cluster.events import Events
from .cluster.health import Thresholds
from .cluster.lost_sessions import LostSessions
from .cluster.mode import Mode, ModeState
from .cluster.node_identity import Identities
from .cluster.nodes import NodeTable
from .cluster.placement import Placement
from .cluster.record_format import RecordFormat
from .cluster.reports import Reports
from .cluster.routing import Router
from .cluster.session_log import SessionLog
from .cluster.shared_map import SharedMap, shared_envelope
from .cluster.trust import hold_off
from .cluster.workers import WorkerRegistry
from .maintenance.audit_log import AuditLog
from .maintenance.collecting import Collector
from .maintenance.copier import RecordCopier
from .maintenance.copy_count import CopyCount
from .maintenance.failback import Failback
from .maintenance.history_keeper import HistoryKeeper
from .maintenance.history_records import HistoryRecords
from .maintenance.host_copy import HostCopy
from .maintenance.host_log import HostLog
from .maintenance.lost_watch import LostWatch
from .maintenance.membership import Membership
from .maintenance.monitor import Monitor
from .maintenance.probe import Prober
from .maintenance.reactions import Reactions
from .maintenance.rebuild import Rebuilder
from .maintenance.rebuild_starter import RebuildStarter
from .maintenance.reporting import StatusReporter
from .maintenance.retries import RetryQueue
from .maintenance.runtime import Runtime
from .maintenance.scheduler import Scheduler
from .maintenance.totals import SharedTotals, counts_of
from .policies import PolicyInForce
from .process.background import Background
from .record.encryption import encryption_of
from .record.envelope import Envelope
from .record.hybrid_clock import HybridLogicalClock
from .sessions.blacklist import Blacklist
from .sessions.live_objects import LiveObjects
from .sessions.overrides import RuntimeOverrides
from .sessions.pins import Pins
from .sessions.repository import Repository, Rules
from .sessions.serialization import Serialization
from .storage.failover import FailoverStore
from .storage.good_day import counts, good_day
from .storage.local.from_settings import local_store
from .storage.looks_behind import LooksBehind
from .storage.mirror import Mirror
from .storage.replica_set import ReplicaSet
from .storage.replicated import ClusterStore
from .storage.second_looks import SecondLooks


if TYPE_CHECKING:
    from types import ModuleType

    from .cluster.event_kinds import Event
    from .policies import Failure, Policy
    from .process.background import WorkBehind
    from .process.clock import Clock
    from .record.codec.msgpack import Codec
    from .record.keys import Keyring
    from .sessions.repository import Notify
    from .settings.node_address import NodeAddress
    from .settings.settings import Settings
    from .storage.store import SessionStore


#: How ticks are spaced when MSM_PROBE_INTERVAL is 0 and requests have to do them, seconds.
UNSCHEDULED = 2.0


def worker_name() -> Callable[[], str]:
    """Return a function that names this process: those forked from one are workers of their own."""
    token = secrets.token_hex(4)
    return lambda: f"{socket.gethostname()}:{os.getpid()}:{token}"


@dataclass(frozen=True, kw_only=True)
class Environment:
    """What an application and its user bring.

    Attributes:
        raise_unexpected: Whether to raise unexpected errors of a store (tests).
        scheduler: A scheduler of the application, or ``None``.
        policy: The application's own policy for attributes that cannot be stored, or ``None``.
        blacklisted: Called for attributes that are stored as ``None`` from now on.
        root: Folder of the application: those of one name keep their local storage apart.
        chance: Returns a number from 0 to 1, to spread the probes of several workers.
        rest: Waits for some seconds, so that a rebuild leaves time to requests.
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
    make_node: Callable[[NodeAddress], Any]
    root: str
    policy: Policy | None
    blacklisted: Callable[[Failure], object]
    worker: Callable[[], str] = field(default_factory=worker_name)
    queue: Callable[..., Background] = Background
    chance: Callable[[], float] = random.random
    rest: Callable[[float], object] = time.sleep

    @property
    def interval(self) -> float:
        """Time between two ticks, seconds."""
        return self.settings.probe_interval or UNSCHEDULED

    @property
    def notice(self) -> float:
        """Time in seconds after which every worker has noticed that an outage is over."""
        return self.settings.probe_max_backoff + 2 * self.interval

    def background(self, name: str, *, limit: int = 1000) -> Background:
        """Return a queue of work behind requests, with a thread of that name."""
        deadline = self.settings.request_deadline
        return self.queue(name, clock=self.clock, deadline=deadline, limit=limit)


class Application:
    """Everything that belongs to one application. Opens no connection, starts no thread.

    Attributes:
        stamps: Makes stamps.
        pins: Attributes that are stored as ``None`` without trying.
        blacklist: Attributes that could not be stored.
        cluster: What there is only with nodes.
    """

    def __init__(self, environment: Environment) -> None:
        settings, clock = environment.settings, environment.clock
        self.encryption = encryption_of(settings.encryption_keys)
        self.record_format = RecordFormat(
            # What sticky sessions write to nodes is whole.
            enabled=settings.fast_path and not settings.sticky,
            interval=settings.probe_interval,
            clock=clock,
        )
        make_envelope = partial(
            Envelope,
            environment.keys,
            codec_id=environment.codec.id,
            compress_above=settings.compress_above or None,
            max_size=settings.max_record_size,
            encryption=self.encryption,
        )
        self.envelope = make_envelope(writes=self.record_format.current)
        ids = [address.id for address in settings.nodes]
        self.placement = Placement(ids, replicas=settings.replicas, last=settings.failover_nodes)
        self.events = Events(clock, environment.listener, environment.worker)
        self.stamps = HybridLogicalClock(clock)
        behind = environment.background("flask-msm-local")
        self.local = local_store(
            settings,
            keys=environment.keys,
            root=environment.root,
            # The version that starts next on this host reads what is stored here.
            envelope=make_envelope(),
            events=self.events,
            clock=clock,
            later=behind.put,
        )
        self.pins = Pins(settings.blacklist)
        self.blacklist = Blacklist(clock, environment.worker)
        self.cluster: Cluster | None = None
        self.store: SessionStore = self.local
        self.backgrounds: tuple[WorkBehind, ...] = (behind,)
        if ids:
            self.cluster = Cluster(environment, self, behind)
            self.store = self.cluster.store
            self.backgrounds = (*self.cluster.backgrounds, behind)
        cluster = self.cluster
        serialization = Serialization(
            policy=PolicyInForce(
                lambda: settings.serialization_policy,
                custom=environment.policy,
                chosen=cluster.overrides.policy if cluster else lambda: None,
            ),
            blacklist=self.blacklist,
            pins=self.pins,
            live=LiveObjects(clock),
            attribute_filter=settings.attribute_filter,
            clock=clock,
            events=self.events,
            blacklisted=environment.blacklisted,
            stop_distribution=cluster.reactions.stop_distribution if cluster else lambda _: None,
        )
        self.repository = Repository(
            cluster.fast_path if cluster else self.store,
            codec=environment.codec,
            stamps=self.stamps,
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
            serialization=serialization,
            losses=LostSessions(
                clock,
                keys=environment.keys,
                key_prefix=settings.key_prefix,
                has_ended=cluster.ended_sessions.has if cluster else lambda _: False,
                log=SessionLog(clock),
            ),
        )
        if cluster:
            cluster.add_maintenance(self.repository)

    @property
    def mode(self) -> Mode:
        """Where sessions go now; without nodes always local storage."""
        return self.cluster.mode.mode if self.cluster else Mode.LOCAL


class Cluster:
    """What there is only with nodes: what is known of them, their store, its maintenance.

    Made in the order in which one part needs the other: what workers share, what follows from it,
    the store; and, when there is a repository of sessions, what is done between requests.
    """

    def __init__(
        self, environment: Environment, application: Application, behind: Background
    ) -> None:
        self._environment, self._application = environment, application
        self.interval = environment.interval
        self._shared_envelope = shared_envelope(environment.keys, application.encryption)
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
            chance=environment.chance,
        )
        self.mode = ModeState(clock)
        self.bulk = environment.background("flask-msm-upkeep")
        self.urgent = environment.background("flask-msm-return")
        #: Tells of what is wrong; it may take long.
        self.alerts = environment.background("flask-msm-alerts", limit=20)
        self._make_shared_state()
        self._make_store(behind)

    def _make_shared_state(self) -> None:
        """Make what the workers share through the nodes, and what follows from it."""
        environment, settings = self._environment, self._environment.settings
        application, clock = self._application, environment.clock
        self.control = Control(self._shared_map(control), worker=environment.worker)
        self.workers = WorkerRegistry(
            self._shared_map(workers),
            worker=environment.worker,
            nodes=self.nodes,
            replicas=application.placement.replicas,
            reads=application.envelope.reads,
            interval=settings.probe_interval,
            clock=clock,
            beats=Beats(
                settings.key_prefix,
                nodes=self.nodes,
                placement=application.placement,
                usable=lambda: [
                    node_id for node_id, view in self.state.view().items() if view.rights.joined
                ],
                sealer=self._shared_envelope.sealer,
                interval=environment.interval,
                clock=clock,
            ),
            chance=environment.chance,
        )
        self.ended_sessions = EndedSessions(self._shared_map(ended_sessions))
        self.conditions = Conditions(
            self.control.shared,
            worker=environment.worker,
            # Without ticks no worker reports that it lives.
            living=self.workers.living if settings.probe_interval else lambda: None,
            events=application.events,
            clock=clock,
        )
        self.common = CommonNodes(
            settings.key_prefix,
            nodes=self.nodes,
            placement=application.placement,
            usable=lambda node_id: self.state.rights(node_id).joined,
            envelope=self._shared_envelope,
            clock=clock,
        )
        self.reports = Reports(self.common, application.stamps)
        self.overrides = RuntimeOverrides(
            self.control,
            pins=application.pins,
            blacklist=application.blacklist,
            local=application.local,
            events=application.events,
            clock=clock,
        )
        shared = [self.control.shared, self.workers.shared, self.ended_sessions.shared]
        self.membership = Membership(
            self.nodes,
            table=self.state,
            mode=self.mode,
            control=self.control,
            workers=self.workers,
            ended=self.ended_sessions,
            record_format=application.record_format,
            conditions=self.conditions,
            identities=Identities(settings.key_prefix),
            events=application.events,
            host=HostCopy(application.local, shared),
            clock=clock,
            timeout=settings.timeout,
            interval=environment.interval,
            notice=environment.notice,
        )
        self.retries = RetryQueue(clock=clock, patience=environment.interval)
        self.reactions = Reactions(
            self.membership, retries=self.retries, bulk=self.bulk, obey=self.overrides.apply
        )

    def _make_store(self, behind: Background) -> None:
        """Make the store of sessions."""
        environment, settings = self._environment, self._environment.settings
        application, local = self._application, self._application.local
        clock, mode = environment.clock, self.mode
        copies = environment.background("flask-msm-copies")
        self.mirror = Mirror(local, behind) if settings.mirror or settings.sticky else None
        second_looks = SecondLooks(clock)
        self.replicated = ClusterStore(
            ReplicaSet(
                clients=self.nodes,
                placement=application.placement,
                views=self.state,
                report=self.reactions.failed,
                answered=self.reactions.answered,
                left_out=self.reactions.left_out,
                envelope=application.envelope,
                max_size=settings.max_record_size,
                clock=clock,
            ),
            background=copies if settings.backup_async else None,
            second_looks=second_looks,
            behind=copies,
        )
        self.store = FailoverStore(
            self.replicated,
            local,
            mode=mode,
            ended_sessions=self.ended_sessions,
            mirror=self.mirror,
            queue=copies,
            near_max_age=settings.near_max_age if settings.sticky else None,
            drops=self._drops,
            returning=lambda: clock.time() < self.router.now.settled_at,
            remembers=self.reactions.remembers,
            clock=clock,
            rest=environment.rest,
        )
        self.router = Router(
            self.nodes,
            table=self.state,
            mode=mode,
            others_keep=lambda: self.membership.others_keep,
            notice=environment.notice,
            max_size=settings.max_record_size,
        )
        self.state.changed = mode.changed = self.membership.changed = self.router.renew
        self.fast_path = good_day(
            self.store,
            settings,
            router=self.router,
            second_looks=second_looks,
            looks_behind=LooksBehind(self.replicated.nodes, self.replicated.rejoin, copies),
            keys=environment.keys,
            queue=environment.background,
            record_format=application.record_format.current,
        )
        self.backgrounds = (
            copies,
            self.bulk,
            self.urgent,
            self.alerts,
            *self.fast_path.backgrounds,
        )

    def add_maintenance(self, repository: Repository) -> None:
        """Make what keeps nodes and sessions whole, between requests."""
        environment, settings = self._environment, self._environment.settings
        clock, timeout = environment.clock, settings.timeout
        self.prober = Prober(
            self.nodes, table=self.state, conditions=self.conditions, clock=clock, timeout=timeout
        )
        self.failback = Failback(self.store, self.membership)
        self.rebuilder = Rebuilder(
            self.membership,
            placement=self._application.placement,
            copier=RecordCopier(
                envelope=self._application.envelope,
                clock=clock,
                timeout=timeout,
                pause=environment.rest,
                requests=repository.meter.newest,
                connections=settings.pool_size,
            ),
            key_prefix=settings.key_prefix,
        )
        sources = self._sources(repository)
        self.totals = SharedTotals(
            repository.meter,
            store=self.store,
            table=self.state,
            sources=sources,
            worker=lambda: self.workers.worker,
        )
        self.reporter = StatusReporter(
            self.reports,
            membership=self.membership,
            store=self.store,
            rebuilder=self.rebuilder,
            failback=self.failback,
            meter=repository.meter,
            losses=repository.losses,
            before=self.overrides.keep,
            sources=sources,
            version=environment.version,
            totals=self.totals,
        )
        self.copies = CopyCount(common=self.common, bulk=self.bulk, timeout=timeout)
        self.collector = Collector(self.reports, self.state, self._application.local)
        self.history = HistoryKeeper(
            HistoryRecords(self.common, self._application.local),
            collector=self.collector,
            membership=self.membership,
            urgent=self.urgent,
            interval=environment.interval,
        )
        self.monitor = Monitor(
            prober=self.prober,
            membership=self.membership,
            reactions=self.reactions,
            failback=self.failback,
            rejoin=lambda key: self.replicated.rejoin(key, clock.monotonic() + timeout),
            rebuilds=RebuildStarter(
                self.rebuilder,
                membership=self.membership,
                reactions=self.reactions,
                bulk=self.bulk,
                hold_off=hold_off(environment.interval, settings.request_deadline),
                rebuilds=bool(settings.probe_interval),
            ),
            lost=LostWatch(
                losses=repository.losses, store=self.store, clock=clock, timeout=timeout
            ),
            copies=self.copies,
            reporter=self.reporter,
            host_log=HostLog(self.control.shared, self._application.local),
            audit_log=AuditLog(self.control, self._application.local, clock),
            history=self.history,
            urgent=self.urgent,
            interval=environment.interval,
            deadline=settings.request_deadline,
        )
        if settings.probe_interval:
            repository.losses.on_loss = self.monitor.report_losses
        scheduler = Scheduler(
            self.monitor.tick,
            name=f"{environment.name}:{settings.key_prefix}",
            interval=settings.probe_interval,
            leave=self.monitor.leave,
            theirs=environment.scheduler,
        )
        self.runtime = Runtime(
            self.monitor, scheduler, state=self.state, clock=clock, urgent=self.urgent
        )

    def _sources(self, repository: Repository) -> dict[str, Callable[[], Any]]:
        """Return what sessions report beside the cluster, by name."""
        serialization = repository.serialization
        return {
            "blacklist": self.overrides.entries,
            "live": lambda: len(serialization.live),
            "policy": lambda: serialization.policy.name,
            "sessions": lambda: counts_of(repository.counters),
            "serialization": lambda: counts_of(serialization.counts),
            "copies": lambda: self.copies.found,
            "lost": lambda: repository.losses.report(repository.meter.asked_for()),
            "cluster": lambda: {
                **counts_of(self.store.nodes.counters),
                "mirror_dropped": self.mirror.dropped if self.mirror else 0,
                "clock_ahead": self._application.stamps.clock_ahead,
                "journals_taken_over": self._application.local.journals.taken,
                "journal_damaged": self._application.local.journals.damaged,
                "kept_late": self.store.late,
                **counts(self.fast_path),
            },
        }

    def _drops(self) -> bool:
        """Return whether changes of an outage are dropped when the cluster is back."""
        chosen = self.control.choice(ON_RECONNECT).value
        return (chosen or self._environment.settings.on_reconnect) == "discard"

    @property
    def configured(self) -> dict[str, str]:
        """What is configured for everything that operators may choose."""
        settings = self._environment.settings
        return {
            POLICY: settings.serialization_policy,
            ON_RECONNECT: settings.on_reconnect,
            DISTRIBUTION: RUNNING,
        }

    def _shared_map(self, kind: ModuleType) -> SharedMap:
        """Return a map that workers share; *kind* is the module that says what stands in it."""
        environment = self._environment
        return SharedMap(
            environment.settings.key_prefix + kind.KEY_SUFFIX,
            envelope=self._shared_envelope,
            stamps=self._application.stamps,
            clock=environment.clock,
            bounds=kind.BOUNDS,
            pause=environment.rest,
            chance=environment.chance,
        )
