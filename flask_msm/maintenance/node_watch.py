"""What an operator has to act on, found in the statistics of a node."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from flask_msm.cluster.conditions import Conditions

    from .node_statistics import Numbers


#: What happened to a node is over when it did not happen again for so long, seconds.
QUIET = 600.0

EVICTS, FULL, CONNECTIONS = "node_evicts", "node_full", "node_connections"


class NodeWatch:
    """Compares the statistics of nodes from tick to tick."""

    def __init__(self, conditions: Conditions) -> None:
        self._conditions = conditions
        #: When it happened last, by kind and node id, monotonic time in seconds.
        self._last: dict[tuple[str, str], float] = {}

    def look(self, node_id: str, before: Numbers | None, found: Numbers, *, now: float) -> None:
        """Report what happened between two answers of a node; *now* is monotonic time, seconds.

        Without an answer *before*, nothing can be compared.
        """
        crowded = (
            f"{node_id} has nearly all of its {found.max_connections} connections open: workers"
            " close theirs when they are idle, and requests wait for one; start memcached with more"
            " (-c), or lower MSM_POOL_SIZE"
        )
        # Workers that close theirs make it less than short, until they need them again.
        if found.short_of_connections:
            self._last[CONNECTIONS, node_id] = now
        self._note(CONNECTIONS, node_id, crowded, now)
        if before is None:
            return
        evicts = (
            f"{node_id} has no memory left and throws sessions out (evictions): give memcached"
            " more memory (-m), add a node, or let sessions end sooner"
        )
        full = (
            f"{node_id} is full and refuses to store sessions (store_no_memory): give memcached"
            " more memory (-m), add a node, or start it without -M"
        )
        for kind, text, had, has in (
            (EVICTS, evicts, before.evictions, found.evictions),
            (FULL, full, before.refused_full, found.refused_full),
        ):
            # A node that was restarted begins at 0 again.
            if has and had is not None and has != had:
                self._last[kind, node_id] = now
            elif has == 0:
                self._last.pop((kind, node_id), None)
            self._note(kind, node_id, text, now)

    def _note(self, kind: str, node_id: str, text: str, now: float) -> None:
        lasts = now - self._last.get((kind, node_id), -math.inf) < QUIET
        self._conditions.note(kind, node_id, text if lasts else None, node=node_id)
