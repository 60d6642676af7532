"""What workers know of the fleet, put together through the nodes.

Always in this order: each node is asked what it knows, it is joined with what is known here, and
each is given the result.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask_msm.cluster.control import DISTRIBUTION, STOPPED
from flask_msm.cluster.health import NodeState, Observation
from flask_msm.errors import NodeError, NodeValueError
from flask_msm.process.locks import ProcessLock

from .map_watch import MapWatch
from .strangers import Strangers


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from flask_msm.cluster.control import Control
    from flask_msm.cluster.shared_map import Fetched, SharedMap
    from flask_msm.memcached.client import MemcachedNode

    from .learner import Learner
    from .parts import Upkeep
    from .probe import Prober


class Membership:
    """Shares what one worker knows with the nodes.

    Args:
        parts: The nodes, and what is shared.
        prober: Probes them on the way, and records those that did not answer.
        learner: Called when something may be new.
        interval: Time in seconds between two ticks.
    """

    def __init__(self, parts: Upkeep, *, prober: Prober, learner: Learner, interval: float) -> None:
        self._parts = parts
        self._strangers = Strangers(parts.conditions, parts.events, interval=interval)
        self._prober = prober
        self._learner = learner
        self._watch = MapWatch(parts.conditions)
        #: Held while a command is judged and made: two threads must not both find it right.
        self._acting = ProcessLock()

    def share(self, until: float | None) -> None:
        """Ask all nodes, put together what they know, and bring each up to date.

        Args:
            until: When it has to be over (monotonic time, seconds); ``None`` for no such time.
        """
        parts = self._parts
        parts.notes.read()
        answered = self._probe(until)
        # No timestamp is issued before the clocks of the nodes were read.
        parts.endings.share()
        maps = parts.control.shared, parts.heartbeat.shared, parts.endings.shared
        pulled, shown = self._pull(answered, maps, until)
        self._compare(pulled, shown)
        parts.returner.bury(parts.endings.fresh())
        # When it is known what others found.
        parts.conditions.settle()
        # The same cut for all nodes: what is different on each would be written at every tick.
        smallest = min(parts.nodes.values(), key=lambda node: node.item_size_max)
        for shared in maps:
            shared.fit(smallest.item_size_max)
        for node_id, found in pulled.items():
            deadline = parts.by(until)
            try:
                for shared, there in zip(maps, found, strict=True):
                    self._push(shared, parts.nodes[node_id], there, deadline)
            except NodeError as error:
                self._prober.failed(node_id, error)
        self._watch.look(maps, smallest, now=parts.clock.monotonic())
        self._learner.learn()
        parts.notes.write()
        parts.host_log.write()

    def _pull(
        self, node_ids: Iterable[str], maps: Sequence[SharedMap], until: float | None
    ) -> tuple[dict[str, list[Fetched]], dict[str, str | None]]:
        """Learn what nodes know; return what they hold, and their identities."""
        parts = self._parts
        pulled: dict[str, list[Fetched]] = {}
        shown: dict[str, str | None] = {}
        for node_id in node_ids:
            node, deadline = parts.nodes[node_id], parts.by(until)
            try:
                found = [shared.pull(node, deadline) for shared in maps]
                identity = parts.identities.of(node, deadline)
            except NodeError as error:
                self._prober.failed(node_id, error)
            else:
                pulled[node_id], shown[node_id] = found, identity
                parts.state.observe(node_id, Observation.PROBE_SUCCESS)
        return pulled, shown

    def _compare(self, pulled: dict[str, list[Fetched]], shown: Mapping[str, str | None]) -> None:
        """Derive trust from what the nodes hold: all were read, none is written yet."""
        learner, heartbeat = self._learner, self._parts.heartbeat
        learner.informed = bool(pulled)
        self._strangers.look(pulled, now=self._parts.clock.monotonic())
        learner.foreign = self._strangers.present
        learner.note_found({node_id: found[0].found for node_id, found in pulled.items()}, shown)
        # Other workers compare what each of them sees.
        heartbeat.sees, heartbeat.keeps = shown, self._parts.returner.waits()
        heartbeat.announce()
        learner.see_others()
        learner.note_twins(shown)
        learner.keep_distrust()
        learner.compare_layouts()

    def _probe(self, until: float | None) -> list[str]:
        """Read the statistics and the clocks of the nodes; return which answered."""
        parts = self._parts
        answered, failed = [], dict[str, NodeError | None]()
        for node_id, node in parts.nodes.items():
            if not parts.state.due(node_id):
                failed[node_id] = None
                continue
            try:
                self._prober.ask(node, parts.by(until))
            except NodeError as error:
                failed[node_id] = error
            else:
                answered.append(node_id)
        self._prober.compare_clocks()
        for node_id, reason in failed.items():
            if reason is None:
                parts.control.set_missed(node_id, "not reachable")
            else:
                self._prober.failed(node_id, reason)
        return answered

    def look(self, within: float | None = None) -> list[str]:
        """Learn what the fleet knows and change nothing; return the nodes that answered.

        Args:
            within: Time in seconds all nodes together may take, none of which fails by being
                slower than its share; ``None`` for the usual time of each.
        """
        parts = self._parts
        end = parts.clock.monotonic() + (within or 0.0)
        parts.notes.read()
        answered = []
        left = self._not_down()
        while left:
            # One that hangs leaves time for the others.
            now = parts.clock.monotonic()
            until = None if within is None else now + max(0.0, end - now) / len(left)
            node_id = left.pop(0)
            try:
                for shared in (parts.control.shared, parts.heartbeat.shared):
                    shared.pull(parts.nodes[node_id], parts.by(until))
            except NodeError as error:
                if within is None:
                    self._prober.failed(node_id, error)
            else:
                answered.append(node_id)
        return answered

    def command(
        self, act: Callable[[Control], object], *, also: SharedMap | None = None
    ) -> list[str]:
        """Change what holds for the fleet; return the nodes that know it now.

        All nodes are read before *act* judges, however lately this worker has ticked. Two workers
        that both read before either writes both change it: the later stamp holds.

        Args:
            act: Makes the change, given what the fleet knows at this moment. What it raises comes
                out, and nothing was changed.
            also: A map that it needs or changes beside the control state.
        """
        parts = self._parts
        parts.notes.read()
        # What the fleet knows comes first, so that the change is the newest entry.
        reached = self._exchange_with(parts.nodes)
        if also is not None:
            reached = self._exchange_map(also, reached)
        self._learner.learn()
        with self._acting:
            act(parts.control)
        told = self._exchange_with(reached)
        if also is not None:
            told = self._exchange_map(also, told)
        parts.notes.write()
        self._learner.learn()
        return told

    def stop_distribution(self, why: str) -> None:
        """Stop distribution for the fleet: here at once, elsewhere as soon as it is read there.

        Nodes are written first: before another worker reports a session as missing, it reads from
        them whether distribution goes on.
        """
        control = self._parts.control
        if control.choice(DISTRIBUTION).value != STOPPED:
            control.choose(DISTRIBUTION, STOPPED, who="policy 'stop'", why=why[:200])
            self.publish()

    def publish(self, _: float = 0.0) -> None:
        """Bring the control state to all nodes that answer, without waiting for the next tick."""
        self._exchange_with(self._not_down())
        self._parts.notes.write()
        self._learner.learn()

    def remembers(self, node_ids: Iterable[str], deadline: float) -> bool:
        """Return whether an answer of nodes that a session is not there still counts.

        A node that was restarted, flushed or exchanged a moment ago has no session at all; and
        this worker may be the last to learn of it, or that distribution was stopped.

        Args:
            node_ids: The nodes, which were trusted when they answered.
            deadline: Monotonic time, seconds.
        """
        parts = self._parts
        lost = unsure = False
        for node_id in node_ids:
            node = parts.nodes[node_id]
            try:
                shown = parts.identities.of(node, deadline)
                found = parts.control.shared.pull(node, deadline).found
            except NodeError as error:
                # It answered "not there" a moment ago, and nothing confirms that now.
                parts.state.failed(node_id, error)
                unsure = True
                continue
            noted = parts.control.identity(node_id)
            kept = shown == noted if shown and noted else found
            if not kept:
                lost = True
                self._learner.note_found({node_id: False}, {node_id: shown})
            # Another worker may have noticed it, or this one in the middle of a tick.
            unsure |= not parts.control.standing(node_id).trusted
            unsure |= not parts.state.rights(node_id).missing
        unheard = parts.control.choice(DISTRIBUTION).value == STOPPED
        if lost:
            self._learner.learn()
        if lost or unheard:
            parts.lanes.later(self.publish)
        return not (lost or unsure or unheard)

    def leave(self) -> None:
        """Write the end of this worker to the nodes; all of them have the time of one."""
        parts = self._parts
        until = parts.by()
        for node_id, view in parts.state.view().items():
            if view.rights.joined:
                node = parts.nodes[node_id]
                try:
                    for shared in (parts.heartbeat.shared, parts.endings.shared):
                        self._push(shared, node, shared.pull(node, until), until)
                except NodeError:
                    continue

    def _not_down(self) -> list[str]:
        views = self._parts.state.view().items()
        return [id_ for id_, view in views if view.health.state is not NodeState.DOWN]

    def _push(
        self, shared: SharedMap, node: MemcachedNode, there: Fetched, deadline: float
    ) -> bool:
        """Bring a map to a node; one that it refuses does not keep others from it.

        Raises:
            NodeError: The node failed.
        """
        try:
            arrived = shared.push(node, there, deadline)
        except NodeValueError:
            self._watch.refused(shared, node)
            return False
        self._watch.taken(shared, node)
        return arrived

    def _exchange_with(self, node_ids: Iterable[str]) -> list[str]:
        """Share the control state with nodes, one of which may hang; return which answered."""
        parts = self._parts
        shared = parts.control.shared
        pulled: dict[str, Fetched] = {}
        shown: dict[str, str | None] = {}
        for node_id in node_ids:
            node = parts.nodes[node_id]
            try:
                found = shared.pull(node, parts.by())
                shown[node_id] = parts.identities.of(node, parts.by())
                pulled[node_id] = found
            except NodeError as error:
                parts.state.failed(node_id, error)
        self._learner.note_found({node_id: found.found for node_id, found in pulled.items()}, shown)
        return self._push_all(shared, pulled)

    def _exchange_map(self, shared: SharedMap, node_ids: Iterable[str]) -> list[str]:
        """Share one map with nodes; return which know all of it."""
        parts = self._parts
        pulled: dict[str, Fetched] = {}
        for node_id in node_ids:
            try:
                pulled[node_id] = shared.pull(parts.nodes[node_id], parts.by())
            except NodeError as error:
                parts.state.failed(node_id, error)
        return self._push_all(shared, pulled)

    def _push_all(self, shared: SharedMap, pulled: dict[str, Fetched]) -> list[str]:
        """Bring a map to the nodes it was read from; return which know all of it."""
        parts = self._parts
        reached = []
        for node_id, there in pulled.items():
            try:
                if self._push(shared, parts.nodes[node_id], there, parts.by()):
                    reached.append(node_id)
            except NodeError as error:
                parts.state.failed(node_id, error)
        return reached
