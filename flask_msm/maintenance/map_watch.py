"""What nodes are too small for, of what workers share."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from .node_watch import QUIET


if TYPE_CHECKING:
    from collections.abc import Iterable

    from flask_msm.cluster.conditions import Conditions
    from flask_msm.cluster.shared_map import SharedMap
    from flask_msm.memcached.client import MemcachedNode


CUT, REFUSED = "map_cut", "map_refused"

#: What stands in a map, by the end of its key.
_CALLED = {
    "control": "facts of nodes and choices of operators",
    "workers": "workers",
    "ended": "sessions that ended",
}


class MapWatch:
    """Reports when shared maps do not fit into nodes.

    Attributes:
        refusals: Names of maps that nodes refused and did not take since, and ids of these nodes.
    """

    def __init__(self, conditions: Conditions) -> None:
        self._conditions = conditions
        #: By key of a map: its cuts when it was looked at last, and when they rose, in seconds of
        #: the monotonic clock.
        self._cuts: dict[str, tuple[int, float]] = {}
        self.refusals: set[tuple[str, str]] = set()

    def look(self, maps: Iterable[SharedMap], smallest: MemcachedNode, *, now: float) -> None:
        """See whether maps were cut since the last time, for the node of the *smallest* items."""
        for shared in maps:
            before, at = self._cuts.get(shared.key, (0, -math.inf))
            at = now if shared.cuts > before else at
            self._cuts[shared.key] = shared.cuts, at
            text = (
                f"the list of {_called(shared)} does not fit into {smallest.id}, which takes"
                f" {smallest.item_size_max} bytes: only the newest are shared; start memcached with"
                " a larger -I"
                if now - at < QUIET
                else None
            )
            self._conditions.note(CUT, shared.name, text)

    def refused(self, shared: SharedMap, node: MemcachedNode) -> None:
        """Report that a node does not take a map."""
        text = (
            f"{node.id} refuses the list of {_called(shared)}: it is full, or takes smaller items"
            " only; give memcached more memory (-m) or a larger -I"
        )
        self.refusals.add((shared.name, node.id))
        self._conditions.note(REFUSED, f"{shared.name} {node.id}", text, node=node.id)

    def taken(self, shared: SharedMap, node: MemcachedNode) -> None:
        """Take note that a node knows a map."""
        self.refusals.discard((shared.name, node.id))
        self._conditions.note(REFUSED, f"{shared.name} {node.id}", None)


def _called(shared: SharedMap) -> str:
    return _CALLED.get(shared.name, shared.name)
