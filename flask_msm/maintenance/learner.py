"""Applies what the fleet knows to the states and the mode of this worker."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from flask_msm.cluster.control import DISTRIBUTION, STOPPED
from flask_msm.cluster.mode import Mode, ModeSignal
from flask_msm.cluster.nodes import FleetFacts


if TYPE_CHECKING:
    from collections.abc import Mapping

    from .parts import Upkeep


class Learner:
    """Lets one worker obey what the fleet knows.

    Args:
        parts: The sources of that knowledge, and the parts that apply it.
        notice: Time in seconds after which every worker has noticed that an outage is over.

    Attributes:
        informed: Whether any node answered when the fleet was asked last.
        differ: Whether workers use different nodes, or see different memories under one id.
        foreign: Whether another fleet lives on the nodes.
        others_keep: Whether other hosts have changes of an outage that nodes do not know yet, or
            may have: an answer of nodes that a session is not there does not count.
    """

    def __init__(self, parts: Upkeep, *, notice: float) -> None:
        #: Called when the control state may have changed.
        self.on_learned: Callable[[], object] = lambda: None
        self.informed = False
        self.differ = self.foreign = self.others_keep = False
        self._notice = notice
        self._began: float | None = None
        #: Nodes that are the memory of another one as well.
        self._twins: frozenset[str] = frozenset()
        self._parts = parts

    def learn(self) -> None:
        """Pass what the fleet knows to the state of the nodes."""
        parts = self._parts
        trusted: frozenset[str] = frozenset()
        if self.may_believe():
            trusted = frozenset(
                node_id for node_id in parts.nodes if parts.control.standing(node_id).trusted
            )
        scattered = self.differ or bool(parts.control.empty())
        facts = FleetFacts(trusted, parts.control.drains(), self._twins, scattered)
        parts.state.learn(facts)
        self.tell_mode()
        self.on_learned()

    def may_believe(self) -> bool:
        """Return whether what the fleet knows of nodes is complete."""
        return self.informed and not self.differ and not self.foreign

    def tell_mode(self) -> None:
        """Set the mode from the nodes and from the choices of operators."""
        parts = self._parts
        stopped = parts.control.choice(DISTRIBUTION).value == STOPPED
        if stopped != (parts.mode.mode is Mode.STOPPED):
            parts.mode.signal(ModeSignal.STOP if stopped else ModeSignal.RESUME)
        writable = any(view.rights.written for view in parts.state.view().values())
        parts.mode.signal(ModeSignal.CLUSTER_UP if writable else ModeSignal.CLUSTER_DOWN)

    def see_others(self) -> None:
        """See whether other hosts know more than the nodes."""
        heartbeat = self._parts.heartbeat
        now = self._parts.clock.monotonic()
        self._began = now if self._began is None else self._began
        is_new = now - self._began < self._notice
        # Asked in any case: the first call counts.
        unheard = heartbeat.has_unheard()
        self.others_keep = heartbeat.kept_elsewhere() or (is_new and unheard)

    def note_found(self, found: Mapping[str, bool], shown: Mapping[str, str | None]) -> None:
        """See which nodes lost their memory, before they are given the control state again.

        Args:
            found: By node id, whether it had it, for the nodes that answered.
            shown: Their identities, see ``cluster/node_identity.py``.
        """
        # While workers see different memories under one id, each would correct the other.
        shown = {} if self.differ else shown
        for node_id in sorted(self._parts.control.note_found(found, shown)):
            text = f"{node_id} lost its memory (restarted, flushed, or another node answers)"
            self._parts.events.add("warning", "node_lost_memory", text, node=node_id)

    def note_twins(self, shown: Mapping[str, str | None]) -> None:
        """See which ids lead to one memory: they are one copy, so only the first of them counts.

        Args:
            shown: The identities of the nodes that answered, by id.
        """
        first: dict[str, str] = {}
        twins: dict[str, str] = {}
        for node_id, identity in sorted(shown.items()):
            if identity is not None and first.setdefault(identity, node_id) != node_id:
                twins[node_id] = first[identity]
        for node_id in self._parts.nodes:
            text = (
                f"{twins[node_id]} and {node_id} are one and the same memcached: {node_id} is not"
                " used. Give each id in MSM_NODES an address of its own"
                if node_id in twins
                else None
            )
            self._parts.conditions.note("one_memory", node_id, text, node=node_id, error=True)
        self._twins = frozenset(twins)

    def keep_distrust(self) -> None:
        """Keep nodes untrusted while this host still has to give sessions back."""
        if self._parts.returner.is_restoring:
            for node_id, view in self._parts.state.view().items():
                if not view.trusted:
                    self._parts.control.set_missed(node_id, "is being filled from local storage")

    def compare_layouts(self) -> None:
        """See whether workers use different nodes, and distrust all nodes while they do."""
        parts = self._parts
        differ = parts.heartbeat.layouts_differ() or parts.heartbeat.memories_differ()
        if differ:
            for node_id in parts.nodes:
                parts.control.set_missed(node_id, "workers use different nodes")
        if differ != self.differ:
            self.differ = differ
            text = (
                "workers use different MSM_NODES or MSM_REPLICAS, or reach different memcached"
                " processes under one id: every session is read from several nodes until they agree"
                if differ
                else "all workers use the same nodes again"
            )
            parts.events.add("warning" if differ else "info", "layouts_differ", text)
