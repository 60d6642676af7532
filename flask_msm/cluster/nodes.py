"""One worker's view of the nodes, ready to be read in every request.

Health is this worker's own; trust and drains are facts of the fleet that come in from outside. The
view is immutable and replaced under a lock; reading takes no lock. Races are harmless: a request
that reads the view of a moment ago reports its failure, and the next one sees it.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, NamedTuple

from flask_msm.errors import NodeBusyError, NodeUnreachableError, NodeValueError
from flask_msm.process.locks import ProcessLock

from .health import (
    AWAY,
    Health,
    NodeState,
    Observation,
    Permissions,
    Thresholds,
    advance,
    effective_state,
    rights,
)


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from flask_msm.errors import NodeError
    from flask_msm.process.clock import Clock


class NodeView(NamedTuple):
    """One node as one worker sees it.

    Attributes:
        state: Health, or an operator's drain in its place.
        trusted: Whether its answer alone counts, as far as the fleet is concerned.
        rights: What may be done with it.
    """

    state: NodeState
    trusted: bool
    rights: Permissions
    health: Health


class FleetFacts(NamedTuple):
    """What the fleet knows, all nodes together.

    Attributes:
        twins: Nodes that are the same memory as another one: they are not used.
        scattered: Whether sessions may lie on any node, for memories moved or were lost.
    """

    trusted: frozenset[str] = frozenset()
    drains: Mapping[str, str] = {}
    twins: frozenset[str] = frozenset()
    scattered: bool = False


class Failures(NamedTuple):
    """How often a node failed this worker since it was started, requests and probes.

    Attributes:
        timeouts: It did not answer in time, or took no more connections.
        breaks: It refused, closed or was not to be reached.
    """

    timeouts: int = 0
    breaks: int = 0


class Transition(NamedTuple):
    """A node that is seen in another state, or trusted otherwise, than before."""

    node_id: str
    before: NodeView
    after: NodeView

    @property
    def went_down(self) -> bool:
        """Whether the node is down now, and was not."""
        down = NodeState.DOWN
        return self.after.health.state is down and self.before.health.state is not down


_TIMEOUTS = frozenset({Observation.SOFT, Observation.PROBE_SOFT})
_BREAKS = frozenset({Observation.HARD, Observation.PROBE_HARD})


class NodeTable:
    """How this worker sees the nodes. What changed is returned, for the caller to act on.

    Args:
        chance: Returns a number from 0 to 1, to spread the attempts of several workers.

    Attributes:
        doubted: Nodes that failed softly: an answer of one of them is worth reporting.
        changed: Called when nodes are seen otherwise than before, or take other sizes.
    """

    def __init__(
        self,
        node_ids: Iterable[str],
        *,
        limits: Thresholds,
        clock: Clock,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.node_ids = tuple(node_ids)
        self._limits = limits
        self._clock = clock
        self._chance = chance
        self.changed: Callable[[], object] = lambda: None
        self._lock = ProcessLock()
        self._facts = FleetFacts()
        now = clock.monotonic()
        self._view = {node_id: self._seen(node_id, Health(since=now)) for node_id in self.node_ids}
        self.doubted: frozenset[str] = frozenset()
        #: Nodes whose answers count alone, also *not there*, and that are not in doubt. Replaced
        #: as a whole.
        self.alone: frozenset[str] = frozenset()
        self._replace({})
        self._failures = dict.fromkeys(self.node_ids, Failures())
        self._complete: frozenset[str] = frozenset()
        self._refused: frozenset[str] = frozenset()

    # -- what requests need --------------------------------------------------------------------

    def rights(self, node_id: str) -> Permissions:
        """Return what may be done with the node now. No I/O, no lock."""
        return self._view[node_id].rights

    def may_lack(self, node_id: str) -> bool:
        """Return whether the node may have evicted or refused values. No I/O, no lock.

        True also before its first probe, and for a node that gives no statistics.
        """
        return node_id not in self._complete or node_id in self._refused

    def scattered(self) -> bool:
        """Return whether sessions may lie on nodes that are not their homes. No I/O, no lock."""
        return self._facts.scattered

    # -- what the upkeep needs -----------------------------------------------------------------

    def view(self) -> Mapping[str, NodeView]:
        """Return all nodes as this worker sees them now."""
        return self._view

    def due(self, node_id: str) -> bool:
        """Return whether the node is to be probed: up, or left alone for long enough."""
        health = self._view[node_id].health
        return health.state is not NodeState.DOWN or self._clock.monotonic() >= health.retry_at

    def failed(self, node_id: str, error: NodeError, *, probing: bool = False) -> list[Transition]:
        """Take note that an operation of a request, or of a probe, failed."""
        if isinstance(error, NodeUnreachableError):
            hard = Observation.PROBE_HARD if probing else Observation.HARD
            return self.observe(node_id, hard, error)
        if isinstance(error, NodeBusyError):
            soft = Observation.PROBE_SOFT if probing else Observation.SOFT
            return self.observe(node_id, soft, error)
        if isinstance(error, NodeValueError) and not probing:
            # The node is well, and lacks a value from now on.
            with self._lock:
                self._refused |= {node_id}
        return []

    def observe(
        self, node_id: str, observation: Observation, error: NodeError | None = None
    ) -> list[Transition]:
        """Take note of what a request or a probe saw; return what changed."""
        reason = f"{type(error).__name__}: {error.reason}" if error else ""
        with self._lock:
            self._count(node_id, observation)
            before = self._view[node_id]
            last = not any(
                view.rights.written for other, view in self._view.items() if other != node_id
            )
            health = advance(
                before.health,
                observation,
                self._limits,
                now=self._clock.monotonic(),
                last=last,
                jitter=self._chance(),
                error=reason,
            )
            if health == before.health:
                return []
            after = self._seen(node_id, health)
            self._replace({node_id: after})
        return _changed(Transition(node_id, before, after))

    def note_complete(self, node_id: str, *, complete: bool) -> None:
        """Record whether the node reports that it has evicted and refused nothing so far."""
        if complete != (node_id in self._complete):
            with self._lock:
                self._complete ^= {node_id}

    def failures(self, node_id: str) -> Failures:
        """Return how often the node failed so far."""
        return self._failures[node_id]

    def forget_failures(self, node_id: str) -> None:
        """Let the node be probed at once."""
        with self._lock:
            before = self._view[node_id]
            after = self._seen(node_id, before.health._replace(retry_at=0.0, losses=0))
            self._replace({node_id: after})

    def learn(self, facts: FleetFacts) -> list[Transition]:
        """Take over what the fleet knows; return what changed."""
        with self._lock:
            if facts == self._facts:
                return []
            self._facts = facts
            before = self._view
            after = {node_id: self._seen(node_id, view.health) for node_id, view in before.items()}
            self._replace(after)
        found = (Transition(node_id, before[node_id], view) for node_id, view in after.items())
        return _changed(*found)

    def _count(self, node_id: str, observation: Observation) -> None:
        timeouts, breaks = self._failures[node_id]
        timeouts += observation in _TIMEOUTS
        breaks += observation in _BREAKS
        self._failures[node_id] = Failures(timeouts, breaks)

    def _seen(self, node_id: str, health: Health) -> NodeView:
        state = effective_state(health.state, self._facts.drains.get(node_id))
        trusted = node_id in self._facts.trusted
        if node_id in self._facts.twins:
            return NodeView(state, trusted, AWAY, health)
        return NodeView(state, trusted, rights(state, trusted=trusted), health)

    def _replace(self, changes: Mapping[str, NodeView]) -> None:
        self._view = {**self._view, **changes}
        self.doubted = frozenset(
            node_id for node_id, view in self._view.items() if view.health.doubts
        )
        self.alone = frozenset(
            node_id
            for node_id, view in self._view.items()
            if view.rights.alone and view.rights.missing and not view.health.doubts
        )
        self.changed()


def _changed(*found: Transition) -> list[Transition]:
    return [
        one
        for one in found
        if (one.before.state, one.before.trusted) != (one.after.state, one.after.trusted)
    ]
