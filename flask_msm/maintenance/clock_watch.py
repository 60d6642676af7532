"""Compares the clocks of the nodes and of this machine, and reports which of them is wrong."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from flask_msm.process.clock import TOLERANCE, FleetClock


if TYPE_CHECKING:
    from collections.abc import Mapping

    from flask_msm.cluster.conditions import Conditions
    from flask_msm.memcached.client import MemcachedNode
    from flask_msm.process.clock import Clock

    from .node_statistics import Numbers


NODE_CLOCK, HOST_CLOCK = "node_clock", "host_clock"


class ClockWatch:
    """Keeps the clock of the fleet right in this worker.

    Args:
        clock: The clock of the fleet; any other one is left alone.
    """

    def __init__(self, clock: Clock, conditions: Conditions) -> None:
        self._clock = clock if isinstance(clock, FleetClock) else None
        self._conditions = conditions

    def look(self, nodes: Mapping[str, MemcachedNode], numbers: Mapping[str, Numbers]) -> None:
        """Correct the clock by the last statistics of the nodes."""
        if self._clock is None or not numbers:
            return
        ahead = {
            node_id: found.ahead for node_id, found in numbers.items() if found.ahead is not None
        }
        self._clock.correct(ahead.values())
        correction = self._clock.correction
        for node_id, seconds in ahead.items():
            nodes[node_id].clock_ahead = seconds - correction
            off = seconds - correction
            text = (
                f"the clock of {node_id} is {_said(off)} the others: sessions are kept as long as"
                " meant, but set it right"
                if abs(off) > TOLERANCE
                else None
            )
            self._conditions.note(NODE_CLOCK, node_id, text, node=node_id)
        host = socket.gethostname()
        text = (
            f"the clock of host {host} is {_said(-correction)} the nodes: sessions are stamped"
            " with the time of the nodes, but set it right"
            if correction
            else None
        )
        self._conditions.note(HOST_CLOCK, host, text)


def _said(seconds: float) -> str:
    size, way = abs(seconds), "ahead of" if seconds > 0 else "behind"
    for unit, name in ((86_400, "days"), (3600, "hours")):
        if size >= 2 * unit:
            return f"{size / unit:.0f} {name} {way}"
    return f"{size / 60:.0f} minutes {way}"
