"""Probes nodes, and records what they answer or that they do not."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from flask_msm.cluster.health import NodeState, Observation
from flask_msm.errors import NodeBusyError, NodeError, NodeUnreachableError, NodeValueError
from flask_msm.process.clock import FleetClock

from .clock_watch import ClockWatch
from .node_statistics import Numbers, numbers_from
from .node_watch import NodeWatch


if TYPE_CHECKING:
    from flask_msm.memcached.client import MemcachedNode

    from .parts import Upkeep


class Prober:
    """Probes the nodes for one worker.

    Args:
        parts: The nodes, and what is to know of them.

    Attributes:
        numbers: The latest statistics of each node.
    """

    def __init__(self, parts: Upkeep) -> None:
        self.numbers: dict[str, Numbers] = {}
        self._parts = parts
        self._watch = NodeWatch(parts.conditions)
        self._clocks = ClockWatch(parts.clock, parts.conditions)

    def probe(self, node_id: str) -> str | None:
        """Probe a node; return what failed, ``None`` when it answered."""
        try:
            self.ask(self._parts.nodes[node_id], self._parts.by())
        except NodeError as error:
            self.failed(node_id, error)
            return f"{type(error).__name__}: {error.reason}"
        return None

    def ask(self, node: MemcachedNode, deadline: float) -> None:
        """Take note of the statistics of *node*.

        Raises:
            NodeError: It did not answer by *deadline* (monotonic time, seconds).
        """
        clock = self._parts.clock
        began = clock.monotonic()
        try:
            found = node.stats(deadline)
        except NodeValueError:
            return  # health is known from traffic only
        latency = clock.monotonic() - began
        own = clock.own_time() if isinstance(clock, FleetClock) else clock.time()
        numbers = numbers_from(found, at=clock.time(), latency=latency, own=own)
        before = self.numbers.get(node.id)
        if before is None or numbers.is_of_another_start(before):
            # Settings change with a restart only; a proxy may report none.
            with suppress(NodeValueError):
                said = numbers_from(node.stats(deadline, "settings"), at=0.0, latency=0.0)
                node.item_size_max = said.item_size_max or node.item_size_max
        self._watch.look(node.id, before, numbers, now=clock.monotonic())
        self._parts.state.note_complete(node.id, complete=numbers.complete)
        self.numbers[node.id] = numbers._replace(item_size_max=node.item_size_max)

    def compare_clocks(self) -> None:
        """Correct the clock of the fleet by the last statistics of the nodes."""
        self._clocks.look(self._parts.nodes, self.numbers)

    def failed(self, node_id: str, error: NodeError) -> None:
        """Record that a node did not answer a probe, or an exchange of what is shared."""
        parts = self._parts
        if isinstance(error, NodeUnreachableError):
            parts.state.observe(node_id, Observation.PROBE_HARD, error)
        elif isinstance(error, NodeBusyError):
            parts.state.observe(node_id, Observation.PROBE_SOFT, error)
        if parts.state.view()[node_id].health.state is NodeState.DOWN:
            parts.control.set_missed(node_id, "not reachable")
