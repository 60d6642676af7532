"""Puts together what keeps nodes and sessions whole, behind requests."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flask_msm.cluster.node_identity import Identities
from flask_msm.maintenance.copier import Copier
from flask_msm.maintenance.failback import Returner
from flask_msm.maintenance.host_log import HostLog
from flask_msm.maintenance.learner import Learner
from flask_msm.maintenance.membership import Sharing
from flask_msm.maintenance.monitor import Monitor
from flask_msm.maintenance.notes import Notes
from flask_msm.maintenance.parts import Upkeep
from flask_msm.maintenance.probe import Prober
from flask_msm.maintenance.reactions import Reactions
from flask_msm.maintenance.rebuild import Rebuilder
from flask_msm.maintenance.rebuild_starter import RebuildStarter
from flask_msm.maintenance.repairs import Repairs
from flask_msm.maintenance.reporting import Publisher

from .cluster.trust import hold_off
from .version import VERSION


if TYPE_CHECKING:
    from collections.abc import Callable

    from flask_msm.cluster.events import Events
    from flask_msm.cluster.nodes import ClusterState
    from flask_msm.maintenance.lanes import Lanes
    from flask_msm.storage.failover import FailoverStore
    from flask_msm.storage.local.store import LocalStore
    from flask_msm.storage.mirror import Mirror
    from flask_msm.storage.replicated import ClusterStore

    from .cluster.mode import ModeKeeper
    from .cluster.placement import Placement
    from .fleet_assembly import Fleet
    from .needs import Needs
    from .record.envelope import Envelope


@dataclass(frozen=True, slots=True, kw_only=True)
class Driven:
    """The upkeep of one worker: what is driven, and what drives it."""

    parts: Upkeep
    prober: Prober
    learner: Learner
    sharing: Sharing
    reactions: Reactions
    monitor: Monitor


def assemble_upkeep(
    needs: Needs,
    *,
    nodes: dict[str, Any],
    placement: Placement,
    envelope: Envelope,
    state: ClusterState,
    mode: ModeKeeper,
    fleet: Fleet,
    store: FailoverStore,
    cluster_store: ClusterStore,
    local: LocalStore,
    mirror: Mirror | None,
    drops: Callable[[], bool],
    events: Events,
    lanes: Lanes,
    interval: float,
    notice: float,
) -> Driven:
    """Return what keeps nodes and sessions whole.

    Args:
        needs: What the application brings.
        nodes: Node clients by id.
        placement: Where keys belong.
        envelope: Seals and opens sessions.
        state: How the nodes are seen.
        mode: Where sessions go now.
        fleet: What workers tell each other.
        store: The store of sessions.
        cluster_store: Its part for nodes.
        local: Its part for this host.
        mirror: Keeps copies on this host, if any are kept.
        drops: Whether sessions of an outage are thrown away when the cluster is back.
        events: Where changes are written down.
        lanes: Where upkeep is done that may take its time.
        interval: Time between two ticks, seconds.
        notice: Time in seconds after which every worker has noticed that an outage is over.
    """
    settings, clock = needs.settings, needs.clock
    keys = needs.keys
    returner = Returner(
        store,
        mirror=mirror,
        control=fleet.control,
        state=state,
        events=events,
        mode=lambda: mode.mode,
        drops=drops,
        keys=keys,
        clock=clock,
        timeout=settings.timeout,
        conditions=fleet.conditions,
    )
    identities = Identities(settings.key_prefix)
    rebuilder = Rebuilder(
        nodes,
        placement=placement,
        control=fleet.control,
        copier=Copier(
            envelope=envelope, keys=keys, clock=clock, timeout=settings.timeout, pause=time.sleep
        ),
        events=events,
        clock=clock,
        key_prefix=settings.key_prefix,
        timeout=settings.timeout,
        read_elsewhere=fleet.heartbeat.is_read_elsewhere,
        identities=identities,
    )
    repairs = Repairs(
        rejoin=lambda key: cluster_store.rejoin(key, keys(), clock.monotonic() + settings.timeout),
        give_up=lambda node_id: reactions.give_up(node_id),  # noqa: PLW0108  (made below)
        clock=clock,
        patience=interval,
    )
    publisher = Publisher(
        fleet.reports,
        heartbeat=fleet.heartbeat,
        state=state,
        mode=mode,
        control=fleet.control,
        events=events,
        local=local,
        rebuilder=rebuilder,
        returner=returner,
        keys=keys,
        clock=clock,
        timeout=settings.timeout,
        version=VERSION,
    )
    parts = Upkeep(
        nodes=nodes,
        state=state,
        mode=mode,
        control=fleet.control,
        heartbeat=fleet.heartbeat,
        endings=fleet.endings,
        conditions=fleet.conditions,
        identities=identities,
        rebuilder=rebuilder,
        repairs=repairs,
        returner=returner,
        notes=Notes(local, fleet.shared, keys=keys),
        host_log=HostLog(fleet.control.shared, local, keys=keys),
        publisher=publisher,
        events=events,
        lanes=lanes,
        keys=keys,
        clock=clock,
        timeout=settings.timeout,
    )
    prober = Prober(parts)
    learner = Learner(parts, notice=notice)
    sharing = Sharing(parts, prober=prober, learner=learner, interval=interval)
    reactions = Reactions(parts, learner=learner, sharing=sharing)
    return Driven(
        parts=parts,
        prober=prober,
        learner=learner,
        sharing=sharing,
        reactions=reactions,
        monitor=Monitor(
            parts,
            prober=prober,
            sharing=sharing,
            rebuilds=RebuildStarter(
                parts,
                learner=learner,
                sharing=sharing,
                hold_off=hold_off(interval, settings.request_deadline),
                rebuilds=bool(settings.probe_interval),
            ),
            deadline=settings.request_deadline,
        ),
    )
