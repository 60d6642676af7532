"""Whether a node may be believed alone: a fact of the fleet, not an opinion of one worker.

It follows from two stamps for each node. ``missed``: some worker left the node out of a write, or
saw that it lost its memory. ``rebuilt``: at this stamp a rebuild *began* that was then finished. A
node is trusted when it has no ``missed``, and while ``rebuilt`` is above ``missed``.
"""

from __future__ import annotations

from typing import NamedTuple


class SyncStatus(NamedTuple):
    """What the fleet knows of a node.

    Attributes:
        missed: Stamp of the last time it was left out, 0 for never.
        rebuilt: Stamp at which the last finished rebuild began, 0 for never.
    """

    missed: int = 0
    rebuilt: int = 0

    @property
    def trusted(self) -> bool:
        """Whether the node has all that was ever written."""
        return not self.missed or self.rebuilt > self.missed


def hold_off(probe_interval: float, request_deadline: float) -> float:
    """Return how long a node must not have been missed before a rebuild begins, seconds.

    Until every worker has learned that the node is to be written again, some write may still go
    past it: two probes to learn it, and one request that began before. So it is with a drain, for
    writes that still go to the node.
    """
    return 2 * probe_interval + request_deadline
