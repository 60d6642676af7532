"""Puts together what workers tell each other through the nodes."""

from __future__ import annotations

import os
import secrets
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flask_msm.cluster.conditions import Conditions
from flask_msm.cluster.control import Control
from flask_msm.cluster.ended_sessions import Endings
from flask_msm.cluster.reports import Reports
from flask_msm.cluster.shared_map import MAX_SIZE, Bounds, SharedMap
from flask_msm.cluster.workers import Heartbeat

from .cluster import control as control_file
from .cluster import ended_sessions as endings_file
from .cluster import workers as heartbeat_file
from .record.envelope import Envelope


if TYPE_CHECKING:
    from collections.abc import Callable

    from flask_msm.cluster.events import Events
    from flask_msm.record.hybrid_clock import StampClock

    from .cluster.placement import Placement
    from .needs import Needs


#: What the fleet's own records name as their codec; sessions begin at 1.
FLEET_CODEC = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """What workers tell each other."""

    control: Control
    heartbeat: Heartbeat
    endings: Endings
    conditions: Conditions
    reports: Reports

    @property
    def shared(self) -> list[tuple[str, SharedMap]]:
        """What all of them share, each with the end of its key."""
        return [
            (control_file.KEY_SUFFIX, self.control.shared),
            (heartbeat_file.KEY_SUFFIX, self.heartbeat.shared),
            (endings_file.KEY_SUFFIX, self.endings.shared),
        ]


def assemble_fleet(
    needs: Needs,
    *,
    stamps: StampClock,
    nodes: dict[str, Any],
    placement: Placement,
    usable: Callable[[str], bool],
    events: Events,
    reads: Callable[[], list[str]],
) -> Fleet:
    """Return what workers tell each other.

    Args:
        needs: What the application brings.
        stamps: Makes stamps.
        nodes: Node clients by id.
        placement: Where keys belong.
        usable: Whether a node may be asked for reports.
        events: Where changes are written down.
        reads: Returns what this worker can read.
    """
    control, heartbeat = control_and_heartbeat(needs, stamps, nodes, placement, reads)
    return Fleet(
        control=control,
        heartbeat=heartbeat,
        endings=Endings(_shared(needs, stamps, endings_file.KEY_SUFFIX, endings_file.BOUNDS)),
        conditions=Conditions(
            control.shared,
            worker=lambda: heartbeat.worker,
            # Without ticks no worker says that it lives.
            living=lambda: heartbeat.living() if needs.settings.probe_interval else None,
            events=events,
            clock=needs.clock,
        ),
        reports=Reports(
            needs.settings.key_prefix,
            nodes=nodes,
            placement=placement,
            usable=usable,
            envelope=_fleet_envelope(needs),
            stamps=stamps,
            clock=needs.clock,
        ),
    )


def control_and_heartbeat(
    needs: Needs,
    stamps: StampClock,
    nodes: dict[str, Any],
    placement: Placement,
    reads: Callable[[], list[str]],
) -> tuple[Control, Heartbeat]:
    """Return what this worker knows of the fleet's choices and nodes, and of its workers."""
    settings, clock = needs.settings, needs.clock
    token = secrets.token_hex(4)

    def worker() -> str:
        # Processes that were forked from one are workers of their own.
        return f"{socket.gethostname()}:{os.getpid()}:{token}"

    return (
        Control(
            _shared(needs, stamps, control_file.KEY_SUFFIX, control_file.BOUNDS), worker=worker
        ),
        Heartbeat(
            _shared(needs, stamps, heartbeat_file.KEY_SUFFIX, heartbeat_file.BOUNDS),
            worker=worker,
            nodes=nodes,
            replicas=placement.replicas,
            reads=reads,
            interval=settings.probe_interval,
            clock=clock,
        ),
    )


def _shared(needs: Needs, stamps: StampClock, suffix: str, bounds: Bounds) -> SharedMap:
    return SharedMap(
        needs.settings.key_prefix + suffix,
        envelope=_fleet_envelope(needs),
        stamps=stamps,
        clock=needs.clock,
        bounds=bounds,
    )


def _fleet_envelope(needs: Needs) -> Envelope:
    return Envelope(
        codec_id=FLEET_CODEC,
        compress_above=4096,
        max_size=MAX_SIZE,
        encryption=needs.encryption,
    )
