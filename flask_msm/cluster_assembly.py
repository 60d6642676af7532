"""Puts together what there is only with nodes."""

from __future__ import annotations

import os
import secrets
import socket
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from .cluster.health import Thresholds
from .cluster.mode import ModeKeeper
from .cluster.state import ClusterState
from .cluster.trust import hold_off
from .fleet import control as control_file
from .fleet import endings as endings_file
from .fleet import heartbeat as heartbeat_file
from .fleet.control import Control
from .fleet.endings import Endings
from .fleet.heartbeat import Heartbeat
from .fleet.reports import Reports
from .fleet.shared_map import MAX_SIZE, SharedMap
from .gate import Gate
from .inspection import Inspector
from .record.envelope import Envelope
from .record.keys import digest_of
from .runtime import Runtime
from .scheduler import Scheduler
from .stores.background import Background
from .stores.cluster import ClusterStore
from .stores.failover import Failover, FailoverStore
from .stores.memcached import MemcachedNode
from .stores.mirror import Mirror
from .stores.nodes import Nodes
from .upkeep.choices import Choices
from .upkeep.commander import Commander
from .upkeep.copier import Copier
from .upkeep.handover import Returner
from .upkeep.lanes import Lanes
from .upkeep.learner import Learner
from .upkeep.monitor import Monitor
from .upkeep.notes import Notes
from .upkeep.observer import Observer
from .upkeep.orders import DISTRIBUTION, ON_RECONNECT, POLICY, RUNNING
from .upkeep.parts import Upkeep
from .upkeep.prober import Prober
from .upkeep.publisher import Publisher
from .upkeep.reactions import Reactions
from .upkeep.rebuild import Rebuilder
from .upkeep.rebuild_starter import RebuildStarter
from .upkeep.repairs import Repairs
from .upkeep.sharing import Sharing
from .version import VERSION


if TYPE_CHECKING:
    from .clock import Clock
    from .cluster.placement import Placement
    from .fleet.events import Events
    from .needs import Needs
    from .record.stamp import StampClock
    from .repository import Repository
    from .settings import NodeAddress, Settings
    from .stores.local import LocalStore


#: What the fleet's own records name as their codec; sessions begin at 1.
FLEET_CODEC = 0
#: How ticks are spaced when MSM_PROBE_INTERVAL is 0 and requests have to do them, seconds.
UNSCHEDULED = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterParts:
    """What there is only with nodes."""

    nodes: dict[str, Any]
    state: ClusterState
    mode: ModeKeeper
    control: Control
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
    aside = Background("flask-msm-return", clock=clock, deadline=settings.request_deadline)
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
    )
    control, heartbeat = _fleet(needs, stamps, nodes, placement)
    endings = Endings(_shared(needs, stamps, endings_file.KEY_SUFFIX))
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
            returning=lambda: (
                clock.time() - mode.back_at < settings.probe_max_backoff + 2 * interval
            ),
            behind=copies,
            drops=drops,
            ended=lambda key: endings.add(digest_of(key) or ""),
            has_ended=lambda key: endings.has(digest_of(key) or ""),
            remembers=lambda key, deadline: sharing.remembers(key, deadline),  # noqa: PLW0108  (made below)
        ),
        clock=clock,
    )
    returner = Returner(
        store,
        mirror=mirror,
        control=control,
        state=state,
        events=events,
        mode=lambda: mode.mode,
        drops=drops,
        keys=keys,
        clock=clock,
        timeout=settings.timeout,
    )
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
        rejoin=lambda key: cluster_store.rejoin(key, keys(), clock.monotonic() + settings.timeout),
        give_up=lambda node_id: reactions.give_up(node_id),  # noqa: PLW0108  (made below)
        clock=clock,
        patience=interval,
    )
    reports = Reports(
        settings.key_prefix,
        nodes=nodes,
        placement=placement,
        usable=lambda node_id: state.rights(node_id).joined,
        envelope=_fleet_envelope(needs),
        stamps=stamps,
        clock=clock,
    )
    publisher = Publisher(
        reports,
        heartbeat=heartbeat,
        state=state,
        mode=mode,
        control=control,
        events=events,
        local=local,
        rebuilder=rebuilder,
        returner=returner,
        keys=keys,
        clock=clock,
        timeout=settings.timeout,
        version=VERSION,
    )
    lanes = Lanes(later=upkeep.put, aside=aside.put)
    upkeep_parts = Upkeep(
        nodes=nodes,
        state=state,
        mode=mode,
        control=control,
        heartbeat=heartbeat,
        endings=endings,
        rebuilder=rebuilder,
        repairs=repairs,
        returner=returner,
        notes=Notes(
            local,
            [
                (control_file.KEY_SUFFIX, control.shared),
                (heartbeat_file.KEY_SUFFIX, heartbeat.shared),
                (endings_file.KEY_SUFFIX, endings.shared),
            ],
            keys=keys,
        ),
        publisher=publisher,
        events=events,
        lanes=lanes,
        keys=keys,
        clock=clock,
        timeout=settings.timeout,
    )
    prober, learner = Prober(upkeep_parts), Learner(upkeep_parts)
    sharing = Sharing(upkeep_parts, prober=prober, learner=learner)
    reactions = Reactions(upkeep_parts, learner=learner, sharing=sharing)
    monitor = Monitor(
        upkeep_parts,
        prober=prober,
        sharing=sharing,
        rebuilds=RebuildStarter(
            upkeep_parts,
            learner=learner,
            sharing=sharing,
            hold_off=hold_off(interval, settings.request_deadline),
            rebuilds=bool(settings.probe_interval),
        ),
        deadline=settings.request_deadline,
    )
    observer = Observer(
        reports,
        heartbeat=heartbeat,
        local=local,
        publisher=publisher,
        numbers=lambda: prober.numbers,
        usable=lambda: any(view.rights.joined for view in state.view().values()),
        keys=keys,
        clock=clock,
        timeout=settings.timeout,
        later=aside.put,
    )
    configured = {
        POLICY: settings.serialization_policy,
        ON_RECONNECT: settings.on_reconnect,
        DISTRIBUTION: RUNNING,
    }
    commander = Commander(
        sharing,
        control=control,
        heartbeat=heartbeat,
        state=state,
        nodes=nodes,
        events=events,
        configured=configured.__getitem__,
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
        mode=mode,
        control=control,
        monitor=monitor,
        prober=prober,
        learner=learner,
        sharing=sharing,
        reactions=reactions,
        lanes=lanes,
        runtime=Runtime(monitor, scheduler, state=state, clock=clock),
        gate=gate,
        inspector=Inspector(nodes, prefix=settings.key_prefix, keys=keys, clock=clock),
        heartbeat=heartbeat,
        rebuilder=rebuilder,
        repairs=repairs,
        returner=returner,
        publisher=publisher,
        commander=commander,
        observer=observer,
        mirror=mirror,
        store=store,
        backgrounds=(copies, upkeep, aside),
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
        },
    )


def _fleet(
    needs: Needs, stamps: StampClock, nodes: dict[str, Any], placement: Placement
) -> tuple[Control, Heartbeat]:
    settings, clock = needs.settings, needs.clock
    token = secrets.token_hex(4)

    def worker() -> str:
        # Processes that were forked from one are workers of their own.
        return f"{socket.gethostname()}:{os.getpid()}:{token}"

    return (
        Control(_shared(needs, stamps, control_file.KEY_SUFFIX), worker=worker),
        Heartbeat(
            _shared(needs, stamps, heartbeat_file.KEY_SUFFIX),
            worker=worker,
            nodes=nodes,
            replicas=placement.replicas,
            interval=settings.probe_interval,
            clock=clock,
        ),
    )


def _shared(needs: Needs, stamps: StampClock, suffix: str) -> SharedMap:
    key = needs.settings.key_prefix + suffix
    return SharedMap(key, envelope=_fleet_envelope(needs), stamps=stamps, clock=needs.clock)


def _fleet_envelope(needs: Needs) -> Envelope:
    return Envelope(
        codec_id=FLEET_CODEC,
        compress_above=4096,
        max_size=MAX_SIZE,
        encryption=needs.encryption,
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
