"""What follows when a request or a probe finds a node, or the mode, changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask_msm.cluster.health import NodeState
from flask_msm.cluster.mode import Mode


if TYPE_CHECKING:
    from flask_msm.cluster.nodes import NodeView

    from .learner import Learner
    from .membership import Membership
    from .parts import Upkeep


class Reactions:
    """Records what changed, and reports to the fleet what a node misses.

    Args:
        parts: The parts that report changes, and those that act on them.
        learner: Called when something may be new.
        sharing: Brings it to the fleet.
    """

    def __init__(self, parts: Upkeep, *, learner: Learner, sharing: Membership) -> None:
        self._parts = parts
        self._learner = learner
        self._sharing = sharing
        parts.state.on_change = self._node_changed
        parts.state.on_left_out = self._left_out
        parts.mode.on_change = self._mode_changed

    def give_up(self, node_id: str) -> None:
        """Record that single repairs did not help the node."""
        self._miss(node_id, "writes did not arrive")

    def _mode_changed(self, before: Mode, after: Mode) -> None:
        texts = {
            Mode.DISTRIBUTED: "sessions are kept in the cluster",
            Mode.LOCAL: "no node can be reached: sessions are kept on this host",
            Mode.STOPPED: "distribution is stopped: sessions are kept on this host",
        }
        level = "info" if after is Mode.DISTRIBUTED else "warning"
        if before is Mode.STOPPED and after is Mode.LOCAL:
            # It is not known yet whether nodes answer: the next probe shows it.
            level = "info"
            texts[after] = "distribution goes on once a node answers: until then on this host"
        text = f"{texts[after]} (mode {after.value}, was {before.value})"
        self._parts.events.add(level, f"mode_{after.value}", text)

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
            self._learner.tell_mode()

    def _left_out(self, node_id: str, key: str) -> None:
        health = self._parts.state.view()[node_id].health
        if health.state is not NodeState.DOWN and node_id not in self._parts.control.drains():
            # One write that did not arrive; a node that is down is missed as a whole.
            self._parts.repairs.add(node_id, key)

    def _miss(self, node_id: str, why: str) -> None:
        self._parts.control.set_missed(node_id, why)
        self._parts.repairs.drop(node_id)
        self._learner.learn()
        self._parts.lanes.later(self._sharing.publish)
