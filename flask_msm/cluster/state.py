"""One worker's own view of the nodes: who failed recently.

A first, simple view: a node that failed is left alone for a while, then it is asked together with
others for as long again before its word alone counts.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from .health import NodeState, Rights, rights


if TYPE_CHECKING:
    from collections.abc import Iterable

    from flask_msm.clock import Clock
    from flask_msm.errors import NodeError


UP = rights(NodeState.UP, trusted=True)
RECOVERING = rights(NodeState.RECOVERING, trusted=False)
DOWN = rights(NodeState.DOWN, trusted=False)


class RecentFailures:
    """Implements ``NodeViews`` from the failures this process saw.

    Args:
        node_ids: All nodes.
        clock: Its monotonic clock is used.
        away: Time in seconds a failed node is not asked.
        doubt: Time in seconds after that in which it is asked together with others.
    """

    def __init__(
        self, node_ids: Iterable[str], *, clock: Clock, away: float = 1.0, doubt: float = 60.0
    ) -> None:
        self._clock = clock
        self._away = away
        self._doubt = doubt
        # Replaced whole under the lock, read without it.
        self._failed_at: dict[str, float] = {}
        self._node_ids = tuple(node_ids)
        self._lock = threading.Lock()

    def rights(self, node_id: str) -> Rights:
        """Return what may be done with the node now."""
        if not self._failed_at:
            return UP
        failed_at = self._failed_at.get(node_id)
        if failed_at is None:
            return UP
        age = self._clock.monotonic() - failed_at
        if age < self._away:
            return DOWN
        if age < self._away + self._doubt:
            return RECOVERING
        return UP

    def failed(self, node_id: str, error: NodeError) -> None:  # noqa: ARG002  (part of the port)
        """Take note that an operation on the node failed."""
        with self._lock:
            self._failed_at = {**self._failed_at, node_id: self._clock.monotonic()}

    def left_out(self, node_id: str) -> None:
        """Do nothing: this view keeps no account of missed writes."""
