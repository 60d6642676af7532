"""Puts together what there is only with nodes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from flask_msm.cluster.conditions import Conditions
from flask_msm.cluster.control import Control
from flask_msm.cluster.nodes import ClusterState
from flask_msm.cluster.workers import Heartbeat
from flask_msm.maintenance.failback import Returner
from flask_msm.maintenance.lanes import Lanes
from flask_msm.maintenance.learner import Learner
from flask_msm.maintenance.membership import Sharing
from flask_msm.maintenance.monitor import Monitor
from flask_msm.maintenance.probe import Prober
from flask_msm.maintenance.reactions import Reactions
from flask_msm.maintenance.rebuild import Rebuilder
from flask_msm.maintenance.repairs import Repairs
from flask_msm.maintenance.reporting import Publisher
from flask_msm.maintenance.runtime import Runtime
from flask_msm.maintenance.scheduler import Scheduler
from flask_msm.operations.checks import Gate
from flask_msm.operations.commander import Commander
from flask_msm.operations.inspection import Inspector
from flask_msm.operations.observer import Observer
from flask_msm.operations.orders import DISTRIBUTION, ON_RECONNECT, POLICY, RUNNING
from flask_msm.process.background import Background
from flask_msm.sessions.overrides import Choices
from flask_msm.storage.failover import Failover, FailoverStore
from flask_msm.storage.mirror import Mirror
from flask_msm.storage.replica_set import Nodes
from flask_msm.storage.replicated import ClusterStore
from flask_msm.storage.second_looks import SecondLooks

from .cluster.health import Thresholds
from .cluster.mode import ModeKeeper
from .fleet_assembly import assemble_fleet, control_and_heartbeat
from .record.envelope import Envelope
from .record.keys import digest_of
from .upkeep_assembly import assemble_upkeep


if TYPE_CHECKING:
    from flask_msm.cluster.events import Events
    from flask_msm.record.hybrid_clock import StampClock
    from flask_msm.sessions.repository import Repository
    from flask_msm.storage.local.store import LocalStore

    from .cluster.placement import Placement
    from .needs import Needs


#: How ticks are spaced when MSM_PROBE_INTERVAL is 0 and requests have to do them, seconds.
UNSCHEDULED = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterParts:
    """What there is only with nodes."""

    nodes: dict[str, Any]
    state: ClusterState
    mode: ModeKeeper
    control: Control
    conditions: Conditions
    monitor: Monitor
    prober: Prober
    learner: Learner
    sharing: Sharing
    reactions: Reactions
    lanes: Lanes
    runtime: Runtime
    gate: Gate
    inspector: Inspector
    heartbeat: Heartbeat
    rebuilder: Rebuilder
    repairs: Repairs
    returner: Returner
    publisher: Publisher
    commander: Commander
    observer: Observer
    mirror: Mirror | None
    store: FailoverStore
    backgrounds: tuple[Background, ...]


def assemble_cluster(
    needs: Needs,
    *,
    envelope: Envelope,
    placement: Placement,
    stamps: StampClock,
    events: Events,
    local: LocalStore,
    behind: Background,
) -> tuple[FailoverStore, ClusterParts]:
    """Return the store of an application with nodes, and what keeps it going."""
    settings, clock = needs.settings, needs.clock
    keys = needs.keys
    interval = settings.probe_interval or UNSCHEDULED
    #: After so many seconds every worker has noticed that an outage is over.
    notice = settings.probe_max_backoff + 2 * interval
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
    later = Background("flask-msm-upkeep", clock=clock, deadline=settings.request_deadline)
    aside = Background("flask-msm-return", clock=clock, deadline=settings.request_deadline)

    def reads() -> list[str]:
        return envelope.reads(keys())

    fleet = assemble_fleet(
        needs,
        stamps=stamps,
        nodes=nodes,
        placement=placement,
        usable=lambda node_id: state.rights(node_id).joined,
        reads=reads,
        events=events,
    )
    cluster_store = ClusterStore(
        Nodes(
            clients=nodes,
            placement=placement,
            views=state,
            envelope=envelope,
            max_size=settings.max_record_size,
            clock=clock,
        ),
        background=copies if settings.backup_async else None,
        second_looks=SecondLooks(clock),
        behind=copies,
    )
    control, endings = fleet.control, fleet.endings
    mode = ModeKeeper(clock)
    mirror = Mirror(local, behind) if settings.mirror or settings.sticky else None

    def drops() -> bool:
        return (control.choice(ON_RECONNECT).value or settings.on_reconnect) == "discard"

    store = FailoverStore(
        cluster_store,
        local,
        Failover(
            mode=lambda: mode.mode,
            near_max_age=settings.near_max_age if settings.sticky else None,
            mirror=mirror,
            returning=lambda: upkeep.learner.others_keep or clock.time() - mode.back_at < notice,
            behind=copies,
            drops=drops,
            ended=lambda key, stamp, kept: endings.add(
                digest_of(key) or "", stamp=stamp, kept=kept
            ),
            has_ended=endings.has,
            remembers=lambda ids, deadline: upkeep.sharing.remembers(ids, deadline),  # noqa: PLW0108  (made below)
        ),
        clock=clock,
    )
    lanes = Lanes(later=later.put, aside=aside.put)
    upkeep = assemble_upkeep(
        needs,
        nodes=nodes,
        placement=placement,
        envelope=envelope,
        state=state,
        mode=mode,
        fleet=fleet,
        store=store,
        cluster_store=cluster_store,
        local=local,
        mirror=mirror,
        drops=drops,
        events=events,
        lanes=lanes,
        interval=interval,
        notice=notice,
    )
    scheduler = Scheduler(
        upkeep.monitor.tick,
        name=f"{needs.name}:{settings.key_prefix}",
        interval=settings.probe_interval,
        leave=upkeep.monitor.leave,
        theirs=needs.scheduler,
    )
    runtime = Runtime(upkeep.monitor, scheduler, state=state, clock=clock)
    observer = Observer(
        fleet.reports,
        heartbeat=fleet.heartbeat,
        local=local,
        publisher=upkeep.parts.publisher,
        numbers=lambda: upkeep.prober.numbers,
        usable=lambda: any(view.rights.joined for view in state.view().values()),
        keys=keys,
        clock=clock,
        timeout=settings.timeout,
        later=aside.put,
        begin=runtime.on_load,
        begun=lambda: runtime.begun,
    )
    configured = {
        POLICY: settings.serialization_policy,
        ON_RECONNECT: settings.on_reconnect,
        DISTRIBUTION: RUNNING,
    }
    commander = Commander(
        upkeep.sharing,
        control=control,
        heartbeat=fleet.heartbeat,
        state=state,
        nodes=nodes,
        events=events,
        configured=configured.__getitem__,
    )
    gate = Gate(
        nodes,
        look=lambda: control_and_heartbeat(needs, stamps, nodes, placement, reads),
        keys=keys,
        clock=clock,
        timeout=settings.connect_timeout + settings.timeout,
    )
    return store, ClusterParts(
        nodes=nodes,
        state=state,
        mode=mode,
        control=control,
        conditions=fleet.conditions,
        monitor=upkeep.monitor,
        prober=upkeep.prober,
        learner=upkeep.learner,
        sharing=upkeep.sharing,
        reactions=upkeep.reactions,
        lanes=lanes,
        runtime=runtime,
        gate=gate,
        inspector=Inspector(nodes, prefix=settings.key_prefix, keys=keys, clock=clock),
        heartbeat=fleet.heartbeat,
        rebuilder=upkeep.parts.rebuilder,
        repairs=upkeep.parts.repairs,
        returner=upkeep.parts.returner,
        publisher=upkeep.parts.publisher,
        commander=commander,
        observer=observer,
        mirror=mirror,
        store=store,
        backgrounds=(copies, later, aside),
    )


def connect(
    parts: ClusterParts,
    needs: Needs,
    repository: Repository,
    *,
    stamps: StampClock,
    local: LocalStore,
    events: Events,
) -> None:
    """Connect what sessions do with what the fleet knows and shows."""
    serialization = repository.serialization
    choices = Choices(
        parts.control,
        pins=serialization.pins,
        blacklist=serialization.blacklist,
        local=local,
        keys=needs.keys,
        events=events,
        clock=needs.clock,
    )
    serialization.policy.chosen = choices.policy
    serialization.connect(stop_distribution=parts.sharing.stop_distribution)
    parts.learner.on_learned = choices.apply
    publisher = parts.publisher
    publisher.meter = repository.meter
    publisher.before.append(choices.keep)
    publisher.kept_locally = lambda: parts.store.saved_locally
    publisher.sources.update(
        blacklist=choices.entries,
        live=lambda: len(serialization.live),
        policy=lambda: serialization.policy.name,
        sessions=lambda: asdict(repository.counters),
        serialization=lambda: asdict(serialization.counts),
        cluster=lambda: {
            **asdict(parts.store.nodes.counters),
            "mirror_dropped": parts.mirror.dropped if parts.mirror else 0,
            "clock_ahead": stamps.clock_ahead,
            "kept_late": parts.store.late,
        },
    )
