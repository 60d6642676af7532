"""What workers know of the fleet, put together through the nodes, and what follows for this one.

Always in this order: each node is asked what it knows, it is joined with what is known here, and
each is given the result. What changed by that is returned.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from flask_msm.cluster.beats import Question
from flask_msm.cluster.control import DISTRIBUTION, STOPPED
from flask_msm.cluster.health import NodeState, Observation
from flask_msm.cluster.mode import Mode, ModeSignal
from flask_msm.cluster.node_maps import Held, Looking, NodeMaps
from flask_msm.cluster.nodes import FleetFacts
from flask_msm.errors import NodeError, NodeValueError

from .map_watch import MapWatch
from .strangers import Strangers


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from flask_msm.cluster.conditions import Conditions
    from flask_msm.cluster.control import Control
    from flask_msm.cluster.ended_sessions import Ended, EndedSessions
    from flask_msm.cluster.events import Events
    from flask_msm.cluster.mode import ModeChange, ModeState
    from flask_msm.cluster.node_identity import Identities
    from flask_msm.cluster.nodes import NodeTable, Transition
    from flask_msm.cluster.record_format import RecordFormat
    from flask_msm.cluster.shared_map import Fetched, SharedMap
    from flask_msm.cluster.workers import WorkerRegistry
    from flask_msm.memcached.client import MemcachedNode
    from flask_msm.memcached.protocol import Look
    from flask_msm.process.clock import Clock

    from .host_copy import HostCopy
    from .probe import Probed

    Change = Transition | ModeChange

T = TypeVar("T")
#: What nodes are asked that have no beat of a worker that is watched.
NO_QUESTION = Question({}, {})


class Plan(NamedTuple):
    """What nodes are asked in a tick, by id.

    Attributes:
        questions: About workers, and the beats that are left there.
        looking: The whole of it, as it is sent to nodes that can look.
    """

    questions: Mapping[str, Question]
    looking: Mapping[str, Looking]


class News(NamedTuple):
    """What a tick found: what changed here, in its order, and which sessions ended elsewhere."""

    changes: list[Change]
    ended: list[Ended]


class Memory(NamedTuple):
    """Whether "not there" counts, whether other workers should be informed, and what changed."""

    counts: bool
    is_news: bool
    changes: list[Change]


class Gathered(NamedTuple):
    """What nodes held of *maps*, by id."""

    maps: tuple[SharedMap, ...]
    held: dict[str, Held]


@dataclass(eq=False)
class Membership:
    """Shares what one worker knows with the nodes, and lets it obey what the fleet knows.

    Args:
        timeout: Time in seconds one node may take.
        interval: Time in seconds between two ticks.
        notice: Time in seconds after which every worker has noticed that an outage is over.

    Attributes:
        others_keep: Whether other hosts have changes of an outage that nodes do not know yet, or
            may have: an answer of nodes that a session is not there does not count.
        changed: Called when that has changed.
    """

    nodes: Mapping[str, MemcachedNode]
    _: KW_ONLY
    table: NodeTable
    mode: ModeState
    control: Control
    workers: WorkerRegistry
    ended: EndedSessions
    record_format: RecordFormat
    conditions: Conditions
    identities: Identities
    events: Events
    host: HostCopy
    clock: Clock
    timeout: float
    interval: float
    notice: float

    def __post_init__(self) -> None:
        self.others_keep = False
        self.changed: Callable[[], object] = lambda: None
        self._strangers = Strangers(self.conditions, self.events, interval=self.interval)
        self._watch = MapWatch(self.conditions)
        self._maps = NodeMaps(self.identities)
        #: Whether any node answered in the last tick, whether workers use different nodes or see
        #: different memories under one id, and whether another fleet lives on the nodes.
        self._informed = self._differ = self._foreign = False
        #: Nodes that are the memory of another one as well.
        self._twins: frozenset[str] = frozenset()
        self._began: float | None = None

    # -- a tick --------------------------------------------------------------------------------

    def plan(self) -> Plan:
        """Return what nodes are to be asked in this tick. No I/O."""
        questions, maps = self.workers.questions(), self._all_maps()
        looking = {}
        for node_id, node in self.nodes.items():
            if node.can_look:
                asked = questions.get(node_id, NO_QUESTION)
                looking[node_id] = self._maps.looking(node, maps, asked.watched, asked.beats)
        return Plan(questions, looking)

    def _all_maps(self) -> tuple[SharedMap, ...]:
        return self.control.shared, self.workers.shared, self.ended.shared

    def sync(
        self, plan: Plan, probed: Probed, until: float | None, *, keeps: bool, restoring: bool
    ) -> News:
        """Put together what the nodes know, and bring each up to date.

        It has to be over at *until* (monotonic time, seconds). *keeps*: this host has changes of an
        outage that nodes do not know yet; *restoring*: it gives sessions back that they forgot.
        """
        changes: list[Change] = []
        self.host.read()
        for node_id, reason in probed.failed.items():
            if reason is None:
                self.control.set_missed(node_id, "not reachable")
            else:
                changes += self.failed(node_id, reason, probing=True)
        self.ended.share()
        maps = self._all_maps()
        held, lost = self._ask(plan, probed.answered, maps, until)
        changes += lost
        pulled = {node_id: found.maps for node_id, found in held.items()}
        strangers = self._signs_of_strangers(held, until)
        self._foreign = self._strangers.look(
            pulled, strangers, called=self.workers.is_called(), now=self.clock.monotonic()
        )
        self._compare(held, keeps=keeps, restoring=restoring)
        # When it is known what others found.
        self.conditions.settle()
        # The same cut for all nodes: what is different on each would be written at every tick.
        smallest = min(self.nodes.values(), key=attrgetter("item_size_max"))
        for shared in maps:
            shared.fit(smallest.item_size_max)
        reached, lost = self._push_all(maps, held, until, probing=True)
        changes += lost
        self.workers.shared_with = reached
        self._watch.look(maps, smallest, now=self.clock.monotonic())
        changes += self.apply()
        self.host.write()
        return News(changes, self.ended.fresh())

    def _compare(self, held: Mapping[str, Held], *, keeps: bool, restoring: bool) -> None:
        """Derive trust from what the nodes hold: all were read, none is written yet."""
        self._informed = bool(held)
        if self._is_odd(held):
            self.workers.note_odd()
        pulled = {node_id: found.maps for node_id, found in held.items()}
        shown = {node_id: found.identity for node_id, found in held.items()}
        self._note_found({node_id: maps[0].found for node_id, maps in pulled.items()}, shown)
        # Other workers compare what each of them sees.
        self.workers.sees, self.workers.keeps = shown, keeps
        self.workers.announce()
        if held:
            self.record_format.look(self.workers)
        self._see_others()
        self._note_twins(shown)
        if restoring:
            for node_id, view in self.table.view().items():
                if not view.trusted:
                    self.control.set_missed(node_id, "is being filled from local storage")
        self._compare_layouts()

    def _is_odd(self, held: Mapping[str, Held]) -> bool:
        """Return whether a node shows something else than the fleet has noted of it."""
        noted = {node_id: self.control.identity(node_id) for node_id in held}
        return any(
            found.identity and noted[node_id] and found.identity != noted[node_id]
            for node_id, found in held.items()
        )

    def _note_found(self, found: Mapping[str, bool], shown: Mapping[str, str | None]) -> None:
        """See which nodes lost their memory, before they are given the control state again."""
        # While workers see different memories under one id, each would correct the other.
        shown = {} if self._differ else shown
        for node_id in sorted(self.control.note_found(found, shown)):
            text = f"{node_id} lost its memory (restarted, flushed, or another node answers)"
            self.events.add("warning", "node_lost_memory", text, node=node_id)

    def _see_others(self) -> None:
        """See whether other hosts know more than the nodes."""
        before = self.others_keep
        unheard = self._is_new() and self.workers.has_unheard()
        self.others_keep = self.workers.kept_elsewhere() or unheard
        if self.others_keep is not before:
            self.changed()

    def _is_new(self) -> bool:
        """Return whether other workers may know of an outage that this one has not seen."""
        now = self.clock.monotonic()
        self._began = now if self._began is None else self._began
        return now - self._began < self.notice

    def _note_twins(self, shown: Mapping[str, str | None]) -> None:
        """See which ids lead to one memory: they are one copy, so only the first of them counts."""
        first: dict[str, str] = {}
        twins: dict[str, str] = {}
        for node_id, identity in sorted(shown.items()):
            if identity is not None and first.setdefault(identity, node_id) != node_id:
                twins[node_id] = first[identity]
        for node_id in self.nodes:
            text = (
                f"{twins[node_id]} and {node_id} are one and the same memcached: {node_id} is not"
                " used. Give each id in MSM_NODES an address of its own"
                if node_id in twins
                else None
            )
            self.conditions.note("one_memory", node_id, text, node=node_id, error=True)
        self._twins = frozenset(twins)

    def _compare_layouts(self) -> None:
        """See whether workers use different nodes, and distrust all nodes while they do."""
        differ = self.workers.layouts_differ() or self.workers.memories_differ()
        if differ:
            for node_id in self.nodes:
                self.control.set_missed(node_id, "workers use different nodes")
        if differ != self._differ:
            self._differ = differ
            text = (
                "workers use different MSM_NODES or MSM_REPLICAS, or reach different memcached"
                " processes under one id: every session is read from several nodes until they agree"
                if differ
                else "all workers use the same nodes again"
            )
            begins, ends = ("layouts", None) if differ else (None, "layouts")
            level = "warning" if differ else "info"
            self.events.add(level, "layouts_differ", text, begins=begins, ends=ends)

    # -- what follows from what is known -------------------------------------------------------

    def may_believe(self) -> bool:
        """Return whether what the fleet knows of nodes is complete."""
        return self._informed and not self._differ and not self._foreign

    def apply(self) -> list[Change]:
        """Pass what the fleet knows to the states of the nodes and to the mode. No I/O."""
        control = self.control
        trusted: frozenset[str] = frozenset()
        if self.may_believe():
            trusted = frozenset({id_ for id_ in self.nodes if control.standing(id_).trusted})
        # One that was emptied and then taken out of MSM_NODES is never filled again.
        scattered = self._differ or not control.empty().isdisjoint(self.nodes)
        facts = FleetFacts(trusted, control.drains(), self._twins, scattered)
        changes: list[Change] = [*self.table.learn(facts)]
        stopped = control.choice(DISTRIBUTION).value == STOPPED
        if stopped != (self.mode.mode is Mode.STOPPED):
            changes += self.mode.signal(ModeSignal.STOP if stopped else ModeSignal.RESUME)
        writable = any(view.rights.written for view in self.table.view().values())
        signal = ModeSignal.CLUSTER_UP if writable else ModeSignal.CLUSTER_DOWN
        return [*changes, *self.mode.signal(signal)]

    def failed(self, node_id: str, error: NodeError, *, probing: bool = False) -> list[Change]:
        """Take note that a node failed; one that is down misses what is written. No I/O."""
        changes: list[Change] = [*self.table.failed(node_id, error, probing=probing)]
        is_down = self.table.view()[node_id].health.state is NodeState.DOWN
        if is_down and (probing or changes):
            # The node as a whole, known before the writes that it misses. A hint for each session
            # (hinted hand-off) is made by its write: a worker that ends a session and is killed
            # before its hint is on a node would leave a node that is believed to show it alive.
            self.control.set_missed(node_id, "not reachable")
        return changes

    # -- between ticks -------------------------------------------------------------------------

    def exchange(self, also: SharedMap | None = None) -> list[Change]:
        """Share the control state, and *also* a map beside it, with the nodes that are not down."""
        gathered, changes = self.gather(self._not_down(), also)
        return changes + self.spread(gathered)[1]

    def gather(
        self, node_ids: Iterable[str], also: SharedMap | None = None
    ) -> tuple[Gathered, list[Change]]:
        """Learn what this host and nodes know; return what ``spread`` needs, and what changed.

        *also* is a map that is shared beside the control state.
        """
        maps = (self.control.shared,) if also is None else (self.control.shared, also)
        self.host.read(*maps)
        held, changes = self._fetch(node_ids, maps)
        found = {node_id: one.maps[0].found for node_id, one in held.items()}
        self._note_found(found, {node_id: one.identity for node_id, one in held.items()})
        return Gathered(maps, held), changes

    def spread(self, gathered: Gathered) -> tuple[list[str], list[Change]]:
        """Let nodes know what is known now; return which of them do, and what changed."""
        return self._push_all(gathered.maps, gathered.held)

    def look(self, within: float | None = None) -> list[Change]:
        """Learn what the fleet knows and change nothing there.

        Args:
            within: Time in seconds all nodes together may take, none of which fails by being
                slower than its share; ``None`` for the usual time of each.
        """
        end = self.clock.monotonic() + (within or 0.0)
        self.host.read()
        changes: list[Change] = []
        left = self._not_down()
        while left:
            # One that hangs leaves time for the others.
            now = self.clock.monotonic()
            until = None if within is None else now + max(0.0, end - now) / len(left)
            node_id = left.pop(0)
            try:
                self._read(node_id, (self.control.shared, self.workers.shared), until)
            except NodeError as error:
                if within is None:
                    changes += self.failed(node_id, error, probing=True)
        return changes

    def remembers(self, node_ids: Iterable[str], deadline: float) -> Memory:
        """Return whether an answer of nodes that a session is not there still counts.

        A node that was restarted, flushed or exchanged a moment ago has no session at all; and
        this worker may be the last to learn of it, or that distribution was stopped.

        Args:
            node_ids: The nodes, which were trusted when they answered.
            deadline: Monotonic time, seconds.
        """
        control, lost, unsure = self.control, False, False
        changes: list[Change] = []
        for node_id in node_ids:
            found, failures = self._fetch([node_id], (control.shared,), deadline)
            changes += failures
            if node_id not in found:
                # It answered "not there" a moment ago, and nothing confirms that now.
                unsure = True
                continue
            shown, noted = found[node_id].identity, control.identity(node_id)
            kept = shown == noted if shown and noted else found[node_id].maps[0].found
            if not kept:
                lost = True
                self._note_found({node_id: False}, {node_id: shown})
            # Another worker may have noticed it, or this one in the middle of a tick.
            unsure |= not control.standing(node_id).trusted
            unsure |= not self.table.rights(node_id).missing
        stopped = control.choice(DISTRIBUTION).value == STOPPED
        if lost:
            changes += self.apply()
        return Memory(not (lost or unsure or stopped), lost or stopped, changes)

    def leave(self) -> None:
        """Write the end of this worker to the nodes; all of them have the time of one."""
        # Sessions that ended just now are not on the list of the nodes yet.
        self.ended.share()
        self.host.write()
        maps, until = (self.workers.shared, self.ended.shared), self._by()
        for node_id, view in self.table.view().items():
            if view.rights.joined:
                try:
                    for shared, there in zip(maps, self._read(node_id, maps, until), strict=True):
                        self._push(shared, self.nodes[node_id], there, until)
                except NodeError:
                    continue

    # -- single nodes --------------------------------------------------------------------------

    def _by(self, until: float | None = None) -> float:
        """Return when one node must have answered, at the latest *until* (monotonic, seconds)."""
        deadline = self.clock.monotonic() + self.timeout
        return deadline if until is None else min(deadline, until)

    def _not_down(self) -> list[str]:
        views = self.table.view().items()
        return [id_ for id_, view in views if view.health.state is not NodeState.DOWN]

    def _read(self, node_id: str, maps: Sequence[SharedMap], until: float | None) -> list[Fetched]:
        """Learn what a node holds of *maps*, in one round trip.

        Raises:
            NodeError: It failed.
        """
        found = self.nodes[node_id].get_many([one.key for one in maps], self._by(until))
        return [shared.merge(found.get(shared.key)) for shared in maps]

    def _ask(
        self,
        plan: Plan,
        answered: Mapping[str, Mapping[str, Look] | None],
        maps: Sequence[SharedMap],
        until: float | None,
    ) -> tuple[dict[str, Held], list[Change]]:
        """Learn what nodes hold in a tick, and who lives; return it by id, and what changed."""

        def ask(node_id: str, deadline: float) -> Held:
            node, looks = self.nodes[node_id], answered[node_id]
            watched = list(plan.questions.get(node_id, NO_QUESTION).watched)
            looking = plan.looking.get(node_id)
            if looks is None:
                if not node.can_look:
                    return self._maps.read(node, maps, deadline, watched)
                looking = looking or self._maps.looking(node, maps, watched, {})
                looks = node.look(looking.whole, looking.tokens, deadline, beats=looking.beats)
            return self._maps.held(node, maps, looks, deadline, watched)

        held, changes = self._each(answered, ask, until, probing=True)
        self.workers.hear(plan.questions, {id_: found.beats for id_, found in held.items()})
        if not held or not self._is_new():
            return held, changes
        unknown = self.workers.unknown()
        for everywhere in (False, True):
            changes += self._survey(self.workers.survey(unknown, everywhere=everywhere), until)
            unknown = [one for one in unknown if not self.workers.lives(one.name)]
        return held, changes

    def _signs_of_strangers(
        self, held: Mapping[str, Held], until: float | None
    ) -> dict[str, bytes]:
        """Return what shows that another fleet lives, by id of the nodes that hold its maps."""
        asked = {
            node_id: question
            for node_id, found in held.items()
            if found.maps[0].foreign
            and (question := self.workers.meeting(found.maps[0].raw or b"")) is not None
        }
        signs, _ = self._each(
            asked, lambda id_, by: self._maps.beats(self.nodes[id_], asked[id_], by), until
        )
        return {node_id: b"".join(found.values()) for node_id, found in signs.items()}

    def _survey(self, asked: Mapping[str, Question], until: float | None) -> list[Change]:
        def ask(node_id: str, deadline: float) -> Mapping[str, bytes]:
            return self._maps.beats(self.nodes[node_id], asked[node_id], deadline)

        beats, changes = self._each(asked, ask, until)
        self.workers.hear(asked, beats)
        return changes

    def _each(
        self,
        node_ids: Iterable[str],
        ask: Callable[[str, float], T],
        until: float | None = None,
        *,
        probing: bool = False,
    ) -> tuple[dict[str, T], list[Change]]:
        """Ask nodes, one after another; return what they answered by id, and what changed."""
        answers: dict[str, T] = {}
        changes: list[Change] = []
        for node_id in node_ids:
            try:
                answer = ask(node_id, self._by(until))
            except NodeError as error:
                changes += self.failed(node_id, error, probing=probing)
            else:
                answers[node_id] = answer
                if probing:
                    changes += self.table.observe(node_id, Observation.PROBE_SUCCESS)
        return answers, changes

    def _fetch(
        self, node_ids: Iterable[str], maps: Sequence[SharedMap], until: float | None = None
    ) -> tuple[dict[str, Held], list[Change]]:
        """Learn all that nodes hold, each in one round trip; return it by id, and what changed."""
        return self._each(
            node_ids, lambda id_, by: self._maps.read(self.nodes[id_], maps, by), until
        )

    def _push_all(
        self,
        maps: Sequence[SharedMap],
        held: Mapping[str, Held],
        until: float | None = None,
        *,
        probing: bool = False,
    ) -> tuple[list[str], list[Change]]:
        """Bring maps to the nodes they were read from; return which know all, and what changed."""
        reached: list[str] = []
        changes: list[Change] = []
        for node_id, there in held.items():
            node, deadline = self.nodes[node_id], self._by(until)
            try:
                arrived = [
                    self._push(shared, node, found, deadline)
                    for shared, found in zip(maps, there.maps, strict=True)
                ]
            except NodeError as error:
                changes += self.failed(node_id, error, probing=probing)
            else:
                reached += [node_id] if all(arrived) else []
        return reached, changes

    def _push(
        self, shared: SharedMap, node: MemcachedNode, there: Fetched, deadline: float
    ) -> bool:
        """Bring a map to a node; one that it refuses does not keep others from it.

        Raises:
            NodeError: The node failed.
        """
        try:
            arrived = shared.knows_all(there)
            if not arrived:
                self._maps.forget(node, shared)
                arrived = shared.push(node, there, deadline)
        except NodeValueError:
            self._watch.refused(shared, node)
            return False
        if (shared.name, node.id) in self._watch.refusals:
            self._watch.taken(shared, node)
        return arrived
