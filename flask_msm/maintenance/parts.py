"""What upkeep works on, put together once for all its parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Mapping

    from flask_msm.cluster.conditions import Conditions
    from flask_msm.cluster.control import Control
    from flask_msm.cluster.ended_sessions import EndedSessions
    from flask_msm.cluster.events import Events
    from flask_msm.cluster.mode import ModeState
    from flask_msm.cluster.node_identity import Identities
    from flask_msm.cluster.nodes import NodeTable
    from flask_msm.cluster.workers import WorkerRegistry
    from flask_msm.memcached.client import MemcachedNode
    from flask_msm.process.clock import Clock

    from .failback import Failback
    from .host_log import HostLog
    from .lanes import Lanes
    from .notes import HostCopy
    from .rebuild import Rebuilder
    from .repairs import RetryQueue
    from .reporting import StatusReporter


@dataclass(frozen=True, slots=True, kw_only=True)
class Upkeep:
    """The parts a monitor drives.

    Attributes:
        clock: Its monotonic clock is used.
        timeout: Time in seconds one node may take.
    """

    nodes: Mapping[str, MemcachedNode]
    state: NodeTable
    mode: ModeState
    control: Control
    heartbeat: WorkerRegistry
    endings: EndedSessions
    conditions: Conditions
    identities: Identities
    rebuilder: Rebuilder
    repairs: RetryQueue
    returner: Failback
    notes: HostCopy
    host_log: HostLog
    publisher: StatusReporter
    events: Events
    lanes: Lanes
    clock: Clock
    timeout: float

    def by(self, until: float | None = None) -> float:
        """Return when one node must have answered, at the latest *until* (monotonic, seconds)."""
        deadline = self.clock.monotonic() + self.timeout
        return deadline if until is None else min(deadline, until)
