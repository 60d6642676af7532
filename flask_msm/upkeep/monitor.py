"""The tick of a worker: probe the nodes, share what is known, see to what is broken.

One tick after another, in a thread of its own or, without one, in a request that finds it due.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flask_msm.cluster.health import NodeState, Observation
from flask_msm.cluster.mode import Mode, ModeSignal
from flask_msm.cluster.state import FleetFacts
from flask_msm.errors import NodeBusyError, NodeError, NodeUnreachableError, NodeValueError
from flask_msm.locks import ProcessLock

from .statistics import Numbers, numbers_from


if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from flask_msm.clock import Clock
    from flask_msm.cluster.mode import ModeKeeper
    from flask_msm.cluster.ports import ManagedNode
    from flask_msm.cluster.state import ClusterState, NodeView
    from flask_msm.fleet.control import Control
    from flask_msm.fleet.endings import Endings
    from flask_msm.fleet.events import Events
    from flask_msm.fleet.heartbeat import Heartbeat
    from flask_msm.fleet.shared_map import Pulled
    from flask_msm.record.keys import Keyring

    from .handover import Returner
    from .notes import Notes
    from .publisher import Publisher
    from .rebuild import Rebuilder
    from .repairs import Repairs


logger = logging.getLogger("flask_msm.monitor")

#: The choice of operators that stops distribution, and its value.
DISTRIBUTION, STOPPED = "distribution", "stopped"
#: Time in seconds between two look-ups of the nodes' names.
RESOLVE_EVERY = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Upkeep:
    """The parts a monitor drives."""

    nodes: Mapping[str, ManagedNode]
    state: ClusterState
    mode: ModeKeeper
    control: Control
    heartbeat: Heartbeat
    endings: Endings
    rebuilder: Rebuilder
    repairs: Repairs
    returner: Returner
    notes: Notes
    publisher: Publisher
    events: Events


class Monitor:
    """Drives the upkeep of one worker.

    Args:
        parts: What it drives.
        keys: Returns the keyring.
        clock: Its monotonic clock is used.
        timeout: Time in seconds one node may take.
        deadline: Time in seconds the first look at the fleet may take, in a request.
        hold_off: See ``cluster/trust.py``, seconds.
        later: Runs a job behind requests and ticks; returns whether it was taken.
        aside: The same, for what may take long and must not wait for a rebuild.
        rebuilds: Whether this worker rebuilds nodes.

    Attributes:
        numbers: The latest statistics of each node.
    """

    def __init__(
        self,
        parts: Upkeep,
        *,
        keys: Callable[[], Keyring],
        clock: Clock,
        timeout: float,
        deadline: float,
        hold_off: float,
        later: Callable[[Callable[[float], object]], bool],
        aside: Callable[[Callable[[float], object]], bool],
        rebuilds: bool,
    ) -> None:
        self.numbers: dict[str, Numbers] = {}
        #: Called when the control state may have changed.
        self.on_learned: Callable[[], object] = lambda: None
        self._parts = parts
        self._keys = keys
        self._clock = clock
        self._timeout = timeout
        self._deadline = deadline
        self._hold_off = hold_off
        self._later = later
        self._aside = aside
        self._rebuilds = rebuilds
        self._ticking = ProcessLock()
        self._rebuilding = ProcessLock()
        self._returning = ProcessLock()
        self._informed = False
        self._resolved_at = clock.monotonic()
        self._differ = False
        # Stamp of the last miss of each node, and since when this worker knows of it.
        self._missed_since: dict[str, tuple[int, float]] = {}
        parts.state.on_change = self._node_changed
        parts.state.on_left_out = self._left_out
        parts.mode.on_change = self._mode_changed

    # -- called from outside -------------------------------------------------------------------

    def begin(self) -> None:
        """Learn what the fleet knows, before the first session is read; until then trust nobody."""
        with self._ticking:
            self._share(self._clock.monotonic() + self._deadline, probe=False)
        self._start_return()

    def tick(self, *, in_request: bool = False) -> None:
        """Do what is to be done now and then. Never raises; two at a time is one too many.

        Args:
            in_request: Take no longer than a request may, whatever hangs.
        """
        if not self._ticking.acquire(blocking=False):
            return
        try:
            self._resolve_names()
            until = self._clock.monotonic() + self._deadline if in_request else None
            self._share(until, probe=True)
            self._parts.repairs.run()
            self._start_return()
            self._start_rebuild()
            if not in_request:
                self._parts.publisher.publish(self.numbers)
        except Exception:  # the scheduler must outlive any fault
            logger.exception("a tick failed")
        finally:
            self._ticking.release()

    def leave(self) -> None:
        """Say good-bye: workers that end must not look like workers with other nodes."""
        parts = self._parts
        parts.heartbeat.leave()
        self._hand_over_repairs()
        # Who ended a session just now has told nobody yet.
        parts.endings.share()
        parts.notes.write()
        until = self._clock.monotonic() + self._timeout
        for node_id, view in parts.state.view().items():
            if view.rights.joined:
                node, keys = parts.nodes[node_id], self._keys()
                try:
                    for shared in (parts.heartbeat.shared, parts.endings.shared):
                        shared.push(node, shared.pull(node, keys, until), keys, until)
                except NodeError:
                    continue

    def _hand_over_repairs(self) -> None:
        """Let the fleet rebuild what this worker alone knows to be missing."""
        parts = self._parts
        lacking = parts.repairs.nodes()
        for node_id in lacking:
            parts.control.set_missed(node_id, "writes did not arrive")
            parts.repairs.drop(node_id)
        if lacking:
            self._publish()

    def visit(self) -> None:
        """Be a visitor, for a command line: nothing is done behind, no thread is started."""
        self._later = self._aside = lambda _: False

    def look(self) -> list[str]:
        """Learn what the fleet knows and change nothing; return the nodes that answered."""
        parts = self._parts
        parts.notes.read()
        answered = []
        for node_id, node in parts.nodes.items():
            try:
                for shared in (parts.control.shared, parts.heartbeat.shared):
                    shared.pull(node, self._keys(), self._by(None))
            except NodeError as error:
                self._probe_failed(node_id, error)
            else:
                answered.append(node_id)
        return answered

    def probe(self, node_id: str) -> str | None:
        """Ask a node how it is; return what failed, ``None`` when it answered."""
        try:
            self._probe(self._parts.nodes[node_id], self._by(None))
        except NodeError as error:
            self._probe_failed(node_id, error)
            return f"{type(error).__name__}: {error.reason}"
        return None

    def stop_distribution(self, why: str) -> None:
        """Stop distribution for the fleet: here at once, elsewhere as soon as they hear of it."""
        control = self._parts.control
        if control.choice(DISTRIBUTION).value != STOPPED:
            control.choose(DISTRIBUTION, STOPPED, who="policy 'stop'", why=why[:200])
            self._tell_mode()
            self._later(self._publish)

    def command(self, act: Callable[[Control], object]) -> list[str]:
        """Change what holds for the fleet; return the nodes that know it now.

        Args:
            act: Makes the change, given what the fleet knows at this moment. What it raises comes
                out, and nothing was changed.
        """
        parts = self._parts
        parts.notes.read()
        # What the fleet knows comes first, so that the change is the newest word.
        reached = self._exchange_with(parts.nodes)
        self._learn()
        act(parts.control)
        told = self._exchange_with(reached)
        parts.notes.write()
        self._learn()
        return told

    def _exchange_with(self, node_ids: Iterable[str]) -> list[str]:
        """Share the control state with nodes, one of which may hang; return which answered."""
        parts, keys = self._parts, self._keys()
        shared = parts.control.shared
        pulled: dict[str, Pulled] = {}
        for node_id in node_ids:
            try:
                pulled[node_id] = shared.pull(parts.nodes[node_id], keys, self._by(None))
            except NodeError as error:
                parts.state.failed(node_id, error)
        self._note_found({node_id: found.found for node_id, found in pulled.items()})
        reached = []
        for node_id, found in pulled.items():
            try:
                if shared.push(parts.nodes[node_id], found, keys, self._by(None)):
                    reached.append(node_id)
            except NodeError as error:
                parts.state.failed(node_id, error)
        return reached

    def _note_found(self, found: Mapping[str, bool]) -> None:
        """See which nodes lost the control state, before they are given it again.

        Args:
            found: By node id, whether it had it, for the nodes that answered.
        """
        for node_id in sorted(self._parts.control.note_found(found)):
            text = f"{node_id} lost its memory (restarted or flushed)"
            self._parts.events.add("warning", "node_lost_memory", text, node=node_id)

    # -- sharing -------------------------------------------------------------------------------

    def _share(self, until: float | None, *, probe: bool) -> None:
        """Ask all nodes, put together what they know, and bring each up to date."""
        parts = self._parts
        parts.notes.read()
        parts.heartbeat.announce()
        parts.endings.share()
        pulled: dict[str, tuple[Pulled, Pulled, Pulled]] = {}
        for node_id, node in parts.nodes.items():
            if not parts.state.due(node_id):
                parts.control.set_missed(node_id, "not reachable")
                continue
            deadline = self._by(until)
            try:
                if probe:
                    self._probe(node, deadline)
                keys = self._keys()
                pulled[node_id] = (
                    parts.control.shared.pull(node, keys, deadline),
                    parts.heartbeat.shared.pull(node, keys, deadline),
                    parts.endings.shared.pull(node, keys, deadline),
                )
            except NodeError as error:
                self._probe_failed(node_id, error)
            else:
                parts.state.observe(node_id, Observation.PROBE_SUCCESS)
        self._informed = bool(pulled)
        self._note_found({node_id: pair[0].found for node_id, pair in pulled.items()})
        self._keep_distrust()
        self._compare_layouts()
        parts.returner.bury(parts.endings.fresh())
        for node_id, (control, workers, endings) in pulled.items():
            deadline = self._by(until)
            try:
                parts.control.shared.push(parts.nodes[node_id], control, self._keys(), deadline)
                parts.heartbeat.shared.push(parts.nodes[node_id], workers, self._keys(), deadline)
                parts.endings.shared.push(parts.nodes[node_id], endings, self._keys(), deadline)
            except NodeError as error:
                self._probe_failed(node_id, error)
        self._learn()
        parts.notes.write()

    def _by(self, until: float | None) -> float:
        deadline = self._clock.monotonic() + self._timeout
        return deadline if until is None else min(deadline, until)

    def _resolve_names(self) -> None:
        """Look names up now and then; a slow name server must not hold up a tick."""
        now = self._clock.monotonic()
        if now - self._resolved_at >= RESOLVE_EVERY:
            self._resolved_at = now
            self._later(lambda _: self._resolve_all())

    def _resolve_all(self) -> None:
        for node in self._parts.nodes.values():
            # A name that does not resolve now keeps its last addresses.
            with suppress(NodeError):
                node.resolve()

    def _probe(self, node: ManagedNode, deadline: float) -> None:
        began = self._clock.monotonic()
        try:
            found = node.stats(deadline)
        except NodeValueError:
            return  # health is known from traffic only
        numbers = numbers_from(
            found, at=self._clock.time(), latency=self._clock.monotonic() - began
        )
        node.item_size_max = numbers.item_size_max or node.item_size_max
        self.numbers[node.id] = numbers

    def _probe_failed(self, node_id: str, error: NodeError) -> None:
        if isinstance(error, NodeUnreachableError):
            self._parts.state.observe(node_id, Observation.PROBE_HARD, error)
        elif isinstance(error, NodeBusyError):
            self._parts.state.observe(node_id, Observation.PROBE_SOFT, error)
        if self._parts.state.view()[node_id].health.state is NodeState.DOWN:
            self._parts.control.set_missed(node_id, "not reachable")

    def _keep_distrust(self) -> None:
        """Let nobody say "not there" while this host still has to give sessions back."""
        if self._parts.returner.is_filling:
            for node_id, view in self._parts.state.view().items():
                if not view.trusted:
                    self._parts.control.set_missed(node_id, "is being filled from local storage")

    def _compare_layouts(self) -> None:
        parts = self._parts
        differ = parts.heartbeat.layouts_differ()
        if differ:
            for node_id in parts.nodes:
                parts.control.set_missed(node_id, "workers use different nodes")
        if differ != self._differ:
            self._differ = differ
            text = (
                "workers use different MSM_NODES or MSM_REPLICAS: every session is read from"
                " several nodes until they agree"
                if differ
                else "all workers use the same nodes again"
            )
            parts.events.add("warning" if differ else "info", "layouts_differ", text)

    def _learn(self) -> None:
        """Tell the state what the fleet says."""
        parts = self._parts
        trusted: frozenset[str] = frozenset()
        if self._informed and not self._differ:
            trusted = frozenset(
                node_id for node_id in parts.nodes if parts.control.standing(node_id).trusted
            )
        parts.state.learn(FleetFacts(trusted, parts.control.drains()))
        self._tell_mode()
        self.on_learned()

    def _tell_mode(self) -> None:
        """Say what the nodes and the operators mean for where sessions go."""
        parts = self._parts
        stopped = parts.control.choice(DISTRIBUTION).value == STOPPED
        if stopped != (parts.mode.mode is Mode.STOPPED):
            parts.mode.signal(ModeSignal.STOP if stopped else ModeSignal.RESUME)
        writable = any(view.rights.written for view in parts.state.view().values())
        parts.mode.signal(ModeSignal.NODES_BACK if writable else ModeSignal.NODES_GONE)

    def _mode_changed(self, before: Mode, after: Mode) -> None:
        texts = {
            Mode.DISTRIBUTED: "sessions are kept in the cluster",
            Mode.LOCAL: "no node can be reached: sessions are kept on this host",
            Mode.STOPPED: "distribution is stopped: sessions are kept on this host",
        }
        level = "info" if after is Mode.DISTRIBUTED else "warning"
        if before is Mode.STOPPED and after is Mode.LOCAL:
            # Nobody knows yet whether nodes answer: the next probe tells.
            level = "info"
            texts[after] = "distribution goes on once a node answers: until then on this host"
        text = f"{texts[after]} (mode {after.value}, was {before.value})"
        self._parts.events.add(level, f"mode_{after.value}", text)

    def remembers(self, key: str, deadline: float) -> bool:
        """Return whether the homes of *key* kept their memory since the fleet began to use them.

        A node that was restarted or flushed a moment ago, and not probed since, says of every
        session that it is not there.

        Args:
            key: A storage key.
            deadline: Monotonic time, seconds.
        """
        parts = self._parts
        lost = False
        for node_id in parts.returner.homes(key):
            if not parts.state.rights(node_id).missing:
                continue
            try:
                found = parts.control.shared.pull(
                    parts.nodes[node_id], self._keys(), deadline
                ).found
            except NodeError as error:
                parts.state.failed(node_id, error)
                continue
            if not found:
                lost = True
                self._note_found({node_id: False})
        if lost:
            self._learn()
            self._later(self._publish)
        return not lost

    def _publish(self, _: float = 0.0) -> None:
        """Bring the control state to all nodes that answer, without waiting for the next tick."""
        views = self._parts.state.view().items()
        self._exchange_with([id_ for id_, view in views if view.health.state is not NodeState.DOWN])
        self._parts.notes.write()
        self._learn()

    # -- what requests report ------------------------------------------------------------------

    def _node_changed(self, node_id: str, before: NodeView, after: NodeView) -> None:
        parts = self._parts
        if after.state is not before.state:
            level = "warning" if after.state in (NodeState.DOWN, NodeState.SUSPECT) else "info"
            reason = f" ({after.health.error})" if level == "warning" else ""
            text = f"{node_id} is {after.state.value}, was {before.state.value}{reason}"
            parts.events.add(level, f"node_{after.state.value}", text, node=node_id)
        if after.trusted != before.trusted:
            text = f"{node_id} is {'' if after.trusted else 'not '}trusted by the fleet"
            parts.events.add("info", "node_trust", text, node=node_id)
        if after.health.state is NodeState.DOWN and before.health.state is not NodeState.DOWN:
            self._miss(node_id, "not reachable")
        elif after.rights != before.rights:
            self._tell_mode()

    def _left_out(self, node_id: str, key: str) -> None:
        health = self._parts.state.view()[node_id].health
        if health.state is not NodeState.DOWN and node_id not in self._parts.control.drains():
            # One write that did not arrive; a node that is down is missed as a whole.
            self._parts.repairs.add(node_id, key)

    def give_up(self, node_id: str) -> None:
        """Say that single repairs did not help the node."""
        self._miss(node_id, "writes did not arrive")

    def _miss(self, node_id: str, why: str) -> None:
        self._parts.control.set_missed(node_id, why)
        self._parts.repairs.drop(node_id)
        self._learn()
        self._later(self._publish)

    # -- the return of the cluster -------------------------------------------------------------

    def _start_return(self) -> None:
        returner = self._parts.returner
        if not returner.is_due() or not self._returning.acquire(blocking=False):
            return
        if not self._aside(lambda _: self._return()):
            self._returning.release()

    def _return(self) -> None:
        try:
            self._parts.returner.run()
        finally:
            self._returning.release()

    # -- rebuilding ----------------------------------------------------------------------------

    def _start_rebuild(self) -> None:
        candidate = self._candidate()
        if candidate is None or not self._rebuilding.acquire(blocking=False):
            return
        if not self._later(lambda _: self._rebuild(*candidate)):
            self._rebuilding.release()

    def _candidate(self) -> tuple[str, str, list[str]] | None:
        """Return what to do, for which node, with which others; ``None`` for nothing."""
        parts = self._parts
        views = parts.state.view()
        if self._differ or not self._informed or not self._rebuilds:
            return None
        for node_id, view in views.items():
            others = [
                other
                for other, seen in views.items()
                if other != node_id and seen.state is not NodeState.DRAINED
            ]
            if any(views[other].health.state is NodeState.DOWN for other in others):
                continue  # what only that one holds would be missing
            if view.state is NodeState.DRAINING:
                return "drain", node_id, [other for other in others if views[other].rights.written]
            if view.state is NodeState.UP and not view.trusted and self._is_quiet(node_id):
                return "rebuild", node_id, others
        return None

    def _is_quiet(self, node_id: str) -> bool:
        """Return whether nobody has missed the node for long enough."""
        missed = self._parts.control.standing(node_id).missed
        now = self._clock.monotonic()
        stamp, since = self._missed_since.get(node_id, (0, now))
        if stamp != missed:
            self._missed_since[node_id] = missed, now
            return False
        return now - since >= self._hold_off

    def _rebuild(self, what: str, node_id: str, others: list[str]) -> None:
        parts = self._parts
        try:
            if what == "drain":
                if parts.rebuilder.drain(node_id, others):
                    parts.control.set_drain(node_id, "drained", who="drain", why="all copied")
            elif not parts.rebuilder.rebuild(node_id, others):
                return
            self._publish()
        finally:
            self._rebuilding.release()
