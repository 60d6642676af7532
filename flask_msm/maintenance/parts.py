"""What upkeep works on, put together once for all who do a piece of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Mapping

    from flask_msm.cluster.conditions import Conditions
    from flask_msm.cluster.control import Control
    from flask_msm.cluster.ended_sessions import Endings
    from flask_msm.cluster.events import Events
    from flask_msm.cluster.mode import ModeKeeper
    from flask_msm.cluster.node_identity import Identities
    from flask_msm.cluster.nodes import ClusterState
    from flask_msm.cluster.ports import ManagedNode
    from flask_msm.cluster.workers import Heartbeat
    from flask_msm.process.clock import Clock
    from flask_msm.record.keys import Keyring

    from .failback import Returner
    from .host_log import HostLog
    from .lanes import Lanes
    from .notes import Notes
    from .rebuild import Rebuilder
    from .repairs import Repairs
    from .reporting import Publisher


@dataclass(frozen=True, slots=True, kw_only=True)
class Upkeep:
    """The parts a monitor drives.

    Attributes:
        keys: Returns the keyring.
        clock: Its monotonic clock is used.
        timeout: Time in seconds one node may take.
    """

    nodes: Mapping[str, ManagedNode]
    state: ClusterState
    mode: ModeKeeper
    control: Control
    heartbeat: Heartbeat
    endings: Endings
    conditions: Conditions
    identities: Identities
    rebuilder: Rebuilder
    repairs: Repairs
    returner: Returner
    notes: Notes
    host_log: HostLog
    publisher: Publisher
    events: Events
    lanes: Lanes
    keys: Callable[[], Keyring]
    clock: Clock
    timeout: float

    def by(self, until: float | None = None) -> float:
        """Return when one node must have answered, at the latest *until* (monotonic, seconds)."""
        deadline = self.clock.monotonic() + self.timeout
        return deadline if until is None else min(deadline, until)
