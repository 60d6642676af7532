"""Which node is rebuilt or drained next, and when: one at a time, behind ticks."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING

from flask_msm.cluster.health import NodeState
from flask_msm.process.locks import ProcessLock
from flask_msm.record.hybrid_clock import milliseconds


if TYPE_CHECKING:
    from flask_msm.process.background import Background

    from .membership import Membership
    from .reactions import Reactions
    from .rebuild import Rebuilder


#: Ticks for which a node is left to workers that can read records which this one cannot.
LEFT_FOR = 3
#: A node that some worker goes on missing, or that cannot be rebuilt while another one is down, is
#: filled after so many times the hold-off, and again after so many seconds, or when it has lost its
#: memory since.
FILLED_AFTER, FILLED_AGAIN = 3, 600.0


@dataclass(eq=False)
class RebuildStarter:
    """Has nodes rebuilt and drained that are to be.

    Args:
        hold_off: See ``cluster/trust.py``, seconds.
        rebuilds: Whether this worker rebuilds nodes.
    """

    rebuilder: Rebuilder
    _: KW_ONLY
    membership: Membership
    reactions: Reactions
    bulk: Background
    hold_off: float
    rebuilds: bool

    def __post_init__(self) -> None:
        self._rebuilding = ProcessLock()
        # Ticks for which nodes are left to workers that can read more, by node id.
        self._left: dict[str, int] = {}
        # Stamp of the last miss of each node or of its drain, and since when this worker knows it.
        self._known_since: dict[str, tuple[int, float]] = {}
        # Since when nodes that are up are not trusted.
        self._doubted_since: dict[str, float] = {}

    def start(self) -> None:
        """Begin what is to be done, unless something is being done."""
        self._leave_to_others()
        candidate = self._candidate()
        if candidate is None or not self._rebuilding.acquire(blocking=False):
            return
        what, node_id, _ = candidate
        control = self.membership.control
        # The order that is seen now is the one that is carried out.
        drain = control.drain(node_id)
        taken_back = what == "drain" and drain.value != "draining"
        if taken_back or not self.bulk.put(lambda _: self._rebuild(*candidate, drain.stamp)):
            self._rebuilding.release()

    def _candidate(self) -> tuple[str, str, list[str]] | None:
        """Return what to do, for which node, with which others; ``None`` for nothing."""
        views = self.membership.table.view()
        if not self.membership.may_believe() or not self.rebuilds:
            return None
        for node_id, view in views.items():
            if view.state is NodeState.UP and view.trusted:
                self._doubted_since.pop(node_id, None)
                continue
            if node_id in self._left:
                continue
            others = [
                other
                for other, seen in views.items()
                if other != node_id and seen.state is not NodeState.DRAINED
            ]
            there = [one for one in others if views[one].health.state is not NodeState.DOWN]
            if there != others:
                # What only one that is down holds would be missing.
                if there and view.state is NodeState.UP and self._is_to_be_filled(node_id):
                    return "fill", node_id, there
                continue
            control = self.membership.control
            if view.state is NodeState.DRAINING:
                # Until all workers know of the order they write to the node, behind the copying.
                if self._is_quiet(node_id, control.drain(node_id).stamp):
                    written = [other for other in others if views[other].rights.written]
                    return "drain", node_id, written
            elif view.state is not NodeState.UP:
                self._doubted_since.pop(node_id, None)
            elif self._is_quiet(node_id, control.standing(node_id).missed):
                return "rebuild", node_id, others
            elif self._is_to_be_filled(node_id):
                return "fill", node_id, others
        return None

    def _is_to_be_filled(self, node_id: str) -> bool:
        """Return whether the node has waited for long: for a node, or a worker goes on missing it.

        Neither a node that stays away nor a bad link of one worker must leave the sessions of all
        with one copy.
        """
        control, now = self.membership.control, self.membership.clock.monotonic()
        if now - self._doubted_since.setdefault(node_id, now) < FILLED_AFTER * self.hold_off:
            return False
        filled = control.filled(node_id)
        if filled <= control.lost().get(node_id, 0):
            return True
        return self.membership.clock.time() - milliseconds(filled) / 1000 >= FILLED_AGAIN

    def _leave_to_others(self) -> None:
        """Leave nodes alone for a while of which another worker can read more than this one."""
        self._left = {node_id: ticks - 1 for node_id, ticks in self._left.items() if ticks > 1}
        left = self.rebuilder.left_to_others
        while left:
            self._left[left.pop()] = LEFT_FOR

    def _is_quiet(self, node_id: str, stamp: int) -> bool:
        """Return whether what *stamp* stands for is the last there was for long enough.

        All workers know of it then, and no request is under way that did not.
        """
        now = self.membership.clock.monotonic()
        known, since = self._known_since.get(node_id, (None, now))
        if known != stamp:
            self._known_since[node_id] = stamp, now
            since = now
        return now - since >= self.hold_off

    def _rebuild(self, what: str, node_id: str, others: list[str], ordered: int) -> None:
        try:
            if what == "drain":
                if self.rebuilder.drain(node_id, others):
                    self.membership.control.set_drained(node_id, ordered=ordered)
            elif not self.rebuilder.rebuild(node_id, others, is_missed=what == "fill"):
                return
            self.reactions.publish()
        finally:
            self._rebuilding.release()
