"""Probes nodes: what they report about themselves, or that they do not answer."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, NamedTuple

from flask_msm.cluster.health import NodeState
from flask_msm.errors import NodeError, NodeValueError
from flask_msm.process.clock import FleetClock

from .clock_watch import ClockWatch
from .node_statistics import Numbers, numbers_from, takes_meta
from .node_watch import NodeWatch


if TYPE_CHECKING:
    from collections.abc import Mapping

    from flask_msm.cluster.conditions import Conditions
    from flask_msm.cluster.node_maps import Looking
    from flask_msm.cluster.nodes import NodeTable
    from flask_msm.memcached.client import MemcachedNode
    from flask_msm.memcached.protocol import Look
    from flask_msm.process.clock import Clock


class Probed(NamedTuple):
    """What a tick found out of the nodes, by id.

    Attributes:
        answered: What nodes that answered have of what was asked for with it; ``None`` if nothing
            was.
        failed: Why others did not answer, ``None`` if they were left alone.
    """

    answered: dict[str, Mapping[str, Look] | None]
    failed: dict[str, NodeError | None]


@dataclass(eq=False)
class Prober:
    """Probes the nodes for one worker.

    Args:
        timeout: Time in seconds one node may take.
    """

    nodes: Mapping[str, MemcachedNode]
    _: KW_ONLY
    table: NodeTable
    conditions: Conditions
    clock: Clock
    timeout: float

    def __post_init__(self) -> None:
        self.numbers: dict[str, Numbers] = {}
        self._watch = NodeWatch(self.conditions)
        self._clocks = ClockWatch(self.clock, self.conditions)

    def probe_all(self, until: float | None, looking: Mapping[str, Looking]) -> Probed:
        """Read the statistics of the nodes that are due, and set the clock by them.

        Args:
            until: When it has to be over (monotonic time, seconds); ``None`` for no such time.
            looking: What nodes that are up are asked for in the same round trip, by id.
        """
        probed = Probed({}, {})
        for node_id in self.nodes:
            if not self.table.due(node_id):
                probed.failed[node_id] = None
                continue
            # One that comes back may be another memcached, which is to be known first.
            is_up = self.table.view()[node_id].health.state is NodeState.UP
            is_known = is_up and node_id in self.numbers
            asked = looking.get(node_id) if is_known else None
            try:
                probed.answered[node_id] = self._ask(self.nodes[node_id], until, asked)
            except NodeError as error:
                probed.failed[node_id] = error
        if probed.answered:
            self._clocks.look(self.nodes, self.numbers)
        return probed

    def probe(self, node_id: str) -> NodeError | None:
        """Read the statistics of a node; return what failed, ``None`` when it answered."""
        try:
            self._ask(self.nodes[node_id], None, None)
        except NodeError as error:
            return error
        return None

    def rest(self) -> None:
        """Close connections to the nodes that are not needed."""
        for node_id, node in self.nodes.items():
            numbers = self.numbers.get(node_id)
            node.rest(crowded=numbers is not None and numbers.short_of_connections)

    def _ask(
        self, node: MemcachedNode, until: float | None, looking: Looking | None
    ) -> Mapping[str, Look] | None:
        clock = self.clock
        began = clock.monotonic()
        deadline = began + self.timeout if until is None else min(began + self.timeout, until)
        looks: Mapping[str, Look] | None = None
        try:
            if looking is None:
                found = node.stats(deadline)
            else:
                found, looks = node.probe(
                    looking.whole, looking.tokens, deadline, beats=looking.beats
                )
        except NodeValueError:
            return None  # health is known from traffic only
        latency = clock.monotonic() - began
        own = clock.own_time() if isinstance(clock, FleetClock) else clock.time()
        numbers = numbers_from(found, at=clock.time(), latency=latency, own=own)
        before = self.numbers.get(node.id)
        if before is None or numbers.is_of_another_start(before):
            # Settings change with a restart only; a proxy may report none.
            settings: Mapping[str, str] = {}
            try:
                with suppress(NodeValueError):
                    settings = node.stats(deadline, "settings")
            finally:
                node.takes_meta = takes_meta(numbers.version, settings)
            said = numbers_from(settings, at=0.0, latency=0.0)
            node.item_size_max = said.item_size_max or node.item_size_max
            self.table.changed()
        self._watch.look(node.id, before, numbers, now=clock.monotonic())
        self.table.note_complete(node.id, complete=numbers.complete)
        self.numbers[node.id] = numbers._replace(item_size_max=node.item_size_max)
        return looks
