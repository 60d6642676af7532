"""What the fleet says, told to the states and the mode of this worker."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from flask_msm.cluster.mode import Mode, ModeSignal
from flask_msm.cluster.state import FleetFacts

from .orders import DISTRIBUTION, STOPPED


if TYPE_CHECKING:
    from collections.abc import Mapping

    from .parts import Upkeep


class Learner:
    """Lets one worker obey what the fleet knows.

    Args:
        parts: Who knows it, and who is to be told.

    Attributes:
        informed: Whether any node answered when the fleet was asked last.
        differ: Whether workers use different nodes.
    """

    def __init__(self, parts: Upkeep) -> None:
        #: Called when the control state may have changed.
        self.on_learned: Callable[[], object] = lambda: None
        self.informed = False
        self.differ = False
        self._parts = parts

    def learn(self) -> None:
        """Tell the state what the fleet says."""
        parts = self._parts
        trusted: frozenset[str] = frozenset()
        if self.informed and not self.differ:
            trusted = frozenset(
                node_id for node_id in parts.nodes if parts.control.standing(node_id).trusted
            )
        parts.state.learn(FleetFacts(trusted, parts.control.drains()))
        self.tell_mode()
        self.on_learned()

    def tell_mode(self) -> None:
        """Say what the nodes and the operators mean for where sessions go."""
        parts = self._parts
        stopped = parts.control.choice(DISTRIBUTION).value == STOPPED
        if stopped != (parts.mode.mode is Mode.STOPPED):
            parts.mode.signal(ModeSignal.STOP if stopped else ModeSignal.RESUME)
        writable = any(view.rights.written for view in parts.state.view().values())
        parts.mode.signal(ModeSignal.NODES_BACK if writable else ModeSignal.NODES_GONE)

    def note_found(self, found: Mapping[str, bool]) -> None:
        """See which nodes lost the control state, before they are given it again.

        Args:
            found: By node id, whether it had it, for the nodes that answered.
        """
        for node_id in sorted(self._parts.control.note_found(found)):
            text = f"{node_id} lost its memory (restarted or flushed)"
            self._parts.events.add("warning", "node_lost_memory", text, node=node_id)

    def keep_distrust(self) -> None:
        """Let nobody say "not there" while this host still has to give sessions back."""
        if self._parts.returner.is_filling:
            for node_id, view in self._parts.state.view().items():
                if not view.trusted:
                    self._parts.control.set_missed(node_id, "is being filled from local storage")

    def compare_layouts(self) -> None:
        """See whether workers use different nodes, and distrust all nodes while they do."""
        parts = self._parts
        differ = parts.heartbeat.layouts_differ()
        if differ:
            for node_id in parts.nodes:
                parts.control.set_missed(node_id, "workers use different nodes")
        if differ != self.differ:
            self.differ = differ
            text = (
                "workers use different MSM_NODES or MSM_REPLICAS: every session is read from"
                " several nodes until they agree"
                if differ
                else "all workers use the same nodes again"
            )
            parts.events.add("warning" if differ else "info", "layouts_differ", text)
